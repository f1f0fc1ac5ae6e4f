//! What an error shows of a text that was refused: enough to recognise it, never enough to flood a log or to drive a
//! terminal. Every error of this crate holds excerpts and not the texts, which anybody may have sent.

/// Characters that are shown of a name.
const NAME: usize = 80;

/// Characters that are shown of another library's message, which may quote the text.
const MESSAGE: usize = 300;

/// The beginning of a text, with its control characters escaped.
pub(crate) fn excerpt(text: &str) -> String {
    shortened(text, NAME)
}

/// The same of a message, which may be longer.
pub(crate) fn message_excerpt(message: &str) -> String {
    shortened(message, MESSAGE)
}

fn shortened(text: &str, limit: usize) -> String {
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == limit {
            shown.push('…');
            break;
        }
        if character.is_control() {
            shown.extend(character.escape_debug());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_short_texts_whole_and_long_ones_in_part() {
        assert_eq!(excerpt(""), "");
        assert_eq!(excerpt("host/äpp"), "host/äpp");
        assert_eq!(excerpt(&"ä".repeat(80)), "ä".repeat(80));
        assert_eq!(excerpt(&"ä".repeat(81)), "ä".repeat(80) + "…");
        assert_eq!(message_excerpt(&"a".repeat(301)), "a".repeat(300) + "…");
    }

    #[test]
    fn escapes_control_characters() {
        assert_eq!(excerpt("a\r\n\u{1b}[31m\u{7f}"), "a\\r\\n\\u{1b}[31m\\u{7f}");
    }
}
