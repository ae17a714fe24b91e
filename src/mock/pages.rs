//! HTML that stands where JSON is expected: what Google's edge says in its own name.

/// A failing edge.
pub(crate) const BAD_GATEWAY: &str = "<!DOCTYPE html>\n<html lang=en>\n  <meta charset=utf-8>\n  \
    <meta name=viewport content=\"initial-scale=1, minimum-scale=1, width=device-width\">\n  \
    <title>Error 502 (Server Error)!!1</title>\n  \
    <a href=//www.google.com/><span id=logo aria-label=Google></span></a>\n  \
    <p><b>502.</b> <ins>That\u{2019}s an error.</ins>\n  \
    <p>The server encountered a temporary error and could not complete your request.\
    <p>Please try again in 30 seconds.  <ins>That\u{2019}s all we know.</ins>\n";

/// An address that sent too much.
pub(crate) const AUTOMATED_QUERIES: &str = "<html><head>\
    <meta http-equiv=\"content-type\" content=\"text/html; charset=utf-8\"/><title>Sorry...</title></head>\
    <body><h1>We're sorry...</h1><p>... but your computer or network may be sending automated queries. \
    To protect our users, we can't process your request right now.</p></body></html>";

/// A request that does not say how long it is.
pub(crate) const LENGTH_REQUIRED: &str = "<!DOCTYPE html>\n<html lang=en>\n  <meta charset=utf-8>\n  \
    <title>Error 411 (Length Required)!!1</title>\n  <p><b>411.</b> <ins>That\u{2019}s an error.</ins>\n  \
    <p>POST requests require a <code>Content-length</code> header.  <ins>That\u{2019}s all we know.</ins>\n";

/// A path that belongs to no API.
pub(crate) const NOT_FOUND: &str = "<!DOCTYPE html>\n<html lang=en>\n  <meta charset=utf-8>\n  \
    <title>Error 404 (Not Found)!!1</title>\n  <p><b>404.</b> <ins>That\u{2019}s an error.</ins>\n  \
    <p>The requested URL was not found on this server.  <ins>That\u{2019}s all we know.</ins>\n";
