//! The acceptor: takes connections while places are left and deals each to the worker with the fewest open.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;
use tracing::{error, warn};

use crate::phase::Phase;
use crate::readiness::Readiness;
use crate::server::worker::Dealer;

/// The pause after the kernel could not give a connection, such as when no file is left.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the house drains; then the listener is closed and new connections are refused.
pub(super) async fn run(
    listener: TcpListener,
    places: usize,
    mut dealers: Vec<Dealer>,
    readiness: Arc<Readiness>,
    mut phase: watch::Receiver<Phase>,
) {
    let places = Arc::new(Semaphore::new(places));
    let accepting = async {
        // The semaphore is never closed.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let accepted = listener.accept().await.and_then(|(stream, _)| {
                // Fails for a client that is gone already, which reading will tell as well.
                let _ = stream.set_nodelay(true);
                stream.into_std()
            });
            match accepted {
                Ok(stream) => {
                    dealers.retain(|dealer| !dealer.gone());
                    let Some(dealer) = dealers.iter().min_by_key(|dealer| dealer.open()) else {
                        return error!("no worker is left: nothing is accepted any more");
                    };
                    dealer.deal(stream, place, &readiness).await;
                }
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    readiness.count_accept_failed();
                    warn!(%error, pause_ms = PAUSE.as_millis(), "no connection could be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        _ = phase.wait_for(|phase| *phase != Phase::Serving) => {}
    }
}
