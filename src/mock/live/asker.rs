//! Who asks for a session.

use crate::mock::auth::{Credential, Form};

/// What a handshake brought.
#[derive(Debug)]
pub(super) struct Asker {
    /// The key or ephemeral token; `None`: no credential came.
    pub(super) credential: Option<Credential>,
    pub(super) path: String,
    /// The method's name: `BidiGenerateContent`, ...
    pub(super) method: String,
}

impl Asker {
    /// The key or token; empty without one.
    pub(super) fn key(&self) -> String {
        self.credential.as_ref().map_or_else(String::new, |credential| credential.value.clone())
    }

    /// The ephemeral token, where one came in a form that Google takes.
    pub(super) fn token(&self) -> Option<&str> {
        let credential = self.credential.as_ref()?;
        let form = matches!(credential.form, Form::AccessToken | Form::Authorization);
        Some(credential.value.as_str()).filter(|value| form && value.starts_with("auth_tokens/"))
    }
}
