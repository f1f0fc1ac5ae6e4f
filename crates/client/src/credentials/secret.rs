//! Text that must not be seen.

use std::fmt;

/// A password or a token: it cannot be printed, and its `Debug` shows nothing of it, not even its length.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Takes a text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, to be handed to the one that it is for and to nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Credential;

    #[test]
    fn s21_a_secret_is_not_in_debug_output() {
        let secret = Secret::new("hunter2");
        let credentials = [
            Credential::Basic { username: "a".to_owned(), password: secret.clone() },
            Credential::IdentityToken { username: "a".to_owned(), token: secret.clone() },
            Credential::RegistryToken(secret.clone()),
        ];
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert!(!format!("{credentials:#?}").contains("hunter2"));
        assert_eq!(secret.expose(), "hunter2");
    }
}
