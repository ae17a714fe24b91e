//! Which of the monitor's routes asks for what, on which listener: the whole rule, without IO.

/// The listeners that serve the monitor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Listener {
    /// Where clients come in.
    Data,
    /// The operator's own.
    Admin,
}

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ruling {
    /// Nothing.
    Open,
    /// A token that may monitor.
    Token,
    /// It does not exist here.
    Absent,
}

/// The routes that answer anyone. What `/monitor/health` says to anyone is the status alone.
pub const OPEN: [&str; 3] = ["/healthz", "/readyz", "/monitor/health"];

/// The rule. `loopback`: only this machine reaches the listener. `tokens`: an operator's or admin's token is set.
pub fn rule(path: &str, listener: Listener, loopback: bool, tokens: bool) -> Ruling {
    match (path, listener) {
        _ if OPEN.contains(&path) => Ruling::Open,
        ("/metrics", Listener::Data) => Ruling::Absent,
        // Scrapers of the same machine need no token even where people do.
        ("/metrics", Listener::Admin) if loopback => Ruling::Open,
        _ if loopback && !tokens => Ruling::Open,
        _ => Ruling::Token,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_asks_for_a_token_unless_the_table_says_otherwise() {
        use Listener::{Admin, Data};
        use Ruling::{Absent, Open, Token};
        for (path, listener, loopback, tokens, ruling) in [
            ("/healthz", Data, false, true, Open),
            ("/readyz", Admin, false, true, Open),
            ("/monitor/health", Data, false, true, Open),
            ("/metrics", Data, true, false, Absent),
            ("/metrics", Data, false, true, Absent),
            ("/metrics", Admin, true, true, Open),
            ("/metrics", Admin, true, false, Open),
            ("/metrics", Admin, false, true, Token),
            ("/metrics", Admin, false, false, Token),
            ("/monitor/keys", Data, true, false, Open),
            ("/monitor/keys", Data, true, true, Token),
            ("/monitor/keys", Data, false, false, Token),
            ("/monitor/keys", Data, false, true, Token),
            ("/monitor/keys", Admin, true, false, Open),
            ("/monitor/full", Admin, true, true, Token),
            ("/monitor/full", Admin, false, false, Token),
            ("/monitor/metrics", Data, false, true, Token),
            ("/monitor/nothing", Data, false, true, Token),
        ] {
            assert_eq!(rule(path, listener, loopback, tokens), ruling, "{path} {listener:?} {loopback} {tokens}");
        }
    }
}
