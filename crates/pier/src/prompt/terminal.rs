//! Asking a person at a terminal.
//!
//! While nothing is shown the terminal gives each key at once and sends no signals: Ctrl-C is a key like any other then, so that nobody
//! is left with a terminal that shows nothing.

use std::io::{self, Read as _, Stdin, Write as _};

use anyhow::{Context as _, anyhow};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::{
    failure::{Failure, Status},
    signals::Signal,
};

/// Characters of an answer.
const LONGEST: usize = 64 << 10;

/// Whether what is typed is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Echo {
    On,
    Off,
}

/// Asks on standard error and reads a line from standard input, which is a terminal.
pub(crate) fn ask(question: &str, echo: Echo) -> Result<String, Failure> {
    let cannot =
        |error: io::Error| Failure::from(anyhow::Error::new(error).context("cannot ask at the terminal"));
    let mut stderr = io::stderr();
    if echo == Echo::On {
        stderr.write_all(question.as_bytes()).map_err(cannot)?;
        let mut line = String::new();
        io::stdin().read_line(&mut line).map_err(cannot)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let silence = Silence::begin().context("cannot ask at the terminal")?;
    stderr.write_all(question.as_bytes()).map_err(cannot)?;
    let answer = silence.line();
    drop(silence);
    stderr.write_all(b"\n").map_err(cannot)?;
    answer
}

/// A terminal that shows nothing. It is as before when this is dropped.
struct Silence {
    stdin: Stdin,
    before: Termios,
}

/// What a key does.
#[derive(Debug, PartialEq, Eq)]
enum Key {
    Adds,
    Ends,
    Stops,
}

impl Silence {
    fn begin() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        // What was typed ahead was shown, and stays.
        tcsetattr(&stdin, OptionalActions::Drain, &silent)?;
        Ok(Self { stdin, before })
    }

    fn line(&self) -> Result<String, Failure> {
        let mut line = Vec::new();
        for byte in self.stdin.lock().bytes() {
            match press(&mut line, byte.context("cannot read from the terminal")?) {
                Key::Adds if line.len() > LONGEST => {
                    return Err(Failure::new(Status::Usage, anyhow!("the answer is too long")));
                }
                Key::Adds => {}
                Key::Ends => break,
                Key::Stops => {
                    return Err(Failure::new(
                        Status::Stopped(Signal::Interrupt),
                        anyhow!("stopped at the question"),
                    ));
                }
            }
        }
        String::from_utf8(line).map_err(|_| Failure::new(Status::Usage, anyhow!("the answer is not UTF-8")))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // Nobody is left to tell when even this cannot be done.
        let _ = tcsetattr(&self.stdin, OptionalActions::Drain, &self.before);
    }
}

/// Lets a key work on what was typed so far.
fn press(line: &mut Vec<u8>, key: u8) -> Key {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const BACKSPACE: u8 = 8;
    const ERASE_LINE: u8 = 21;
    const DELETE: u8 = 127;
    match key {
        b'\n' | b'\r' | END => return Key::Ends,
        INTERRUPT => return Key::Stops,
        ERASE_LINE => line.clear(),
        BACKSPACE | DELETE => {
            // A character may have several bytes; all but its first have these two bits.
            while line.pop().is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000) {}
        }
        byte => line.push(byte),
    }
    Key::Adds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(keys: &str, expected: &str, end: Key) {
        let mut line = Vec::new();
        let last = keys.bytes().map(|key| press(&mut line, key)).last();
        assert_eq!((String::from_utf8(line).unwrap().as_str(), last), (expected, Some(end)));
    }

    #[test]
    fn keys_edit_and_end_the_line() {
        check("secret\r", "secret", Key::Ends);
        check("secret\n", "secret", Key::Ends);
        check("secret\x04", "secret", Key::Ends);
        check("secrets\x7f\x08\x7f", "secr", Key::Adds);
        check("a€\x7f", "a", Key::Adds);
        check("\x7fa", "a", Key::Adds);
        check("wrong\x15right", "right", Key::Adds);
        check("sec\x03", "sec", Key::Stops);
    }
}
