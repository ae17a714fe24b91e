//! Messages of the Live API, skimmed for the few facts that a relay needs: no tree, no copy.

use crate::skim::visitor::{Scalar, Visitor};
use crate::skim::walk::Skim;

/// The longest name or handle that is read.
const GATHERED_BYTES_MAX: usize = 1_024;

/// What a client's first message says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Setup {
    /// `setup.model`, without `models/`.
    pub(super) model: Option<String>,
    /// `setup.sessionResumption.handle`: the session that is to go on.
    pub(super) handle: Option<String>,
    /// Whether there is a handle that cannot be read: one that is too long, or no text.
    pub(super) unreadable: bool,
}

/// What a message of Google's says beside its content.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Told {
    /// `serverContent.turnComplete`
    pub(super) turn_complete: bool,
    /// `sessionResumptionUpdate.newHandle`, unless it is empty.
    pub(super) handle: Option<String>,
}

impl Setup {
    /// Reads a first message; of one that is no setup, nothing.
    pub(super) fn read(message: &[u8]) -> Self {
        let mut setup = Self::default();
        Skim::<Self, GATHERED_BYTES_MAX>::default().feed(message, &mut setup);
        setup
    }
}

impl Told {
    /// Reads a message.
    pub(super) fn read(message: &[u8]) -> Self {
        let mut told = Self::default();
        Skim::<Self, GATHERED_BYTES_MAX>::default().feed(message, &mut told);
        told
    }
}

/// Where in a setup message. Google reads names in both of JSON's spellings.
#[derive(Clone, Copy, Debug)]
pub(super) enum SetupPlace {
    Root,
    InMessage,
    Setup,
    InSetup,
    Model,
    Resumption,
    InResumption,
    Handle,
}

impl Visitor for Setup {
    type Place = SetupPlace;
    const ROOT: SetupPlace = SetupPlace::Root;
    const LINES: bool = false;

    fn value(&mut self, at: SetupPlace, first: u8, _: usize) -> Option<SetupPlace> {
        match (at, first) {
            (SetupPlace::Root, b'{') => Some(SetupPlace::InMessage),
            (SetupPlace::Setup, b'{') => Some(SetupPlace::InSetup),
            (SetupPlace::Resumption, b'{') => Some(SetupPlace::InResumption),
            (SetupPlace::Model | SetupPlace::Handle, b'"') => Some(at),
            _ => None,
        }
    }

    fn key(&mut self, at: SetupPlace, key: &[u8]) -> Option<SetupPlace> {
        match (at, key) {
            (SetupPlace::InMessage, b"setup") => Some(SetupPlace::Setup),
            (SetupPlace::InSetup, b"model") => Some(SetupPlace::Model),
            (SetupPlace::InSetup, b"sessionResumption" | b"session_resumption") => Some(SetupPlace::Resumption),
            (SetupPlace::InResumption, b"handle") => Some(SetupPlace::Handle),
            _ => None,
        }
    }

    fn scalar(&mut self, at: SetupPlace, scalar: Scalar<'_>) {
        let text = text(scalar);
        match at {
            SetupPlace::Model => {
                self.model = text.map(|name| name.strip_prefix("models/").map(str::to_owned).unwrap_or(name));
            }
            SetupPlace::Handle => {
                self.unreadable |= text.is_none() && !matches!(scalar, Scalar::Text(b"") | Scalar::Word(_));
                self.handle = text;
            }
            _ => {}
        }
    }

    fn end(&mut self, _: SetupPlace) {}
}

/// Where in a message of Google's.
#[derive(Clone, Copy, Debug)]
pub(super) enum ToldPlace {
    Root,
    InMessage,
    Content,
    InContent,
    TurnComplete,
    Update,
    InUpdate,
    Handle,
}

impl Visitor for Told {
    type Place = ToldPlace;
    const ROOT: ToldPlace = ToldPlace::Root;
    const LINES: bool = false;

    fn value(&mut self, at: ToldPlace, first: u8, _: usize) -> Option<ToldPlace> {
        match (at, first) {
            (ToldPlace::Root, b'{') => Some(ToldPlace::InMessage),
            (ToldPlace::Content, b'{') => Some(ToldPlace::InContent),
            (ToldPlace::Update, b'{') => Some(ToldPlace::InUpdate),
            (ToldPlace::Handle, b'"') | (ToldPlace::TurnComplete, b't') => Some(at),
            _ => None,
        }
    }

    fn key(&mut self, at: ToldPlace, key: &[u8]) -> Option<ToldPlace> {
        match (at, key) {
            (ToldPlace::InMessage, b"serverContent") => Some(ToldPlace::Content),
            (ToldPlace::InMessage, b"sessionResumptionUpdate") => Some(ToldPlace::Update),
            (ToldPlace::InContent, b"turnComplete") => Some(ToldPlace::TurnComplete),
            (ToldPlace::InUpdate, b"newHandle") => Some(ToldPlace::Handle),
            _ => None,
        }
    }

    fn scalar(&mut self, at: ToldPlace, scalar: Scalar<'_>) {
        match at {
            ToldPlace::TurnComplete => self.turn_complete = scalar == Scalar::Word(b"true"),
            ToldPlace::Handle => self.handle = text(scalar),
            _ => {}
        }
    }

    fn end(&mut self, _: ToldPlace) {}
}

fn text(scalar: Scalar<'_>) -> Option<String> {
    let Scalar::Text(text) = scalar else { return None };
    std::str::from_utf8(text).ok().filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setup_tells_its_model_and_the_session_it_goes_on_with() {
        let setup = |model: Option<&str>, handle: Option<&str>| Setup {
            model: model.map(str::to_owned),
            handle: handle.map(str::to_owned),
            unreadable: false,
        };
        for (message, expected) in [
            (
                r#"{"setup":{"model":"models/gemini-x","generationConfig":{"model":"no"}}}"#,
                setup(Some("gemini-x"), None),
            ),
            (r#"{"setup": {"sessionResumption": {"handle": "h1"}, "model": "m"}}"#, setup(Some("m"), Some("h1"))),
            (r#"{"setup":{"session_resumption":{"handle":"h\u0031"}}}"#, setup(None, Some("h1"))),
            (r#"{"setup":{"model":7,"sessionResumption":{}}}"#, setup(None, None)),
            (r#"{"realtimeInput":{"text":"{\"setup\":{\"model\":\"m\"}}"},"model":"m"}"#, setup(None, None)),
            ("", setup(None, None)),
            ("\u{0}rubbish{{[", setup(None, None)),
        ] {
            assert_eq!(Setup::read(message.as_bytes()), expected, "{message}");
        }
    }

    #[test]
    fn a_handle_that_cannot_be_read_is_not_taken_for_none() {
        let setup = |handle: &[u8]| {
            Setup::read(&[&br#"{"setup":{"sessionResumption":{"handle":""#[..], handle, br#""}}}"#].concat())
        };
        for (handle, unreadable) in
            [(&[b'h'; 5_000][..], true), (b"\xff\xfe", true), (b"", false), (&[b'h'; 1_000], false)]
        {
            assert_eq!(setup(handle).unreadable, unreadable, "{} bytes", handle.len());
        }
    }

    #[test]
    fn a_message_tells_the_end_of_a_turn_and_a_new_handle() {
        let update = r#"{"sessionResumptionUpdate":{"newHandle":"h2","resumable":true}}"#;
        assert_eq!(Told::read(update.as_bytes()).handle.as_deref(), Some("h2"));
        assert_eq!(Told::read(br#"{"sessionResumptionUpdate":{"newHandle":""}}"#), Told::default());
        assert!(Told::read(br#"{"serverContent":{"turnComplete": true},"usageMetadata":{}}"#).turn_complete);
        assert!(!Told::read(br#"{"serverContent":{"modelTurn":{"turnComplete":true}}}"#).turn_complete);
    }
}
