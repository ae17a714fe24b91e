//! What a process exits with beside 0 and 1.

/// Of a wrong configuration, or of what must not be begun: `EX_USAGE`.
pub(super) const CONFIGURATION: u8 = 64;
/// Of a gateway that cannot be asked: `EX_UNAVAILABLE`.
pub(super) const UNHEARD: u8 = 69;
