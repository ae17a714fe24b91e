//! The binary: the allocator, the TLS provider, the command line.

use std::process::ExitCode;

use clap::Parser as _;
use geminate::command::{Line, run};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Two providers may stand in one tree, and rustls asks for a choice before the first connection.
    // An error says that one is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    run(Line::parse())
}
