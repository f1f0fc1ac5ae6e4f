//! A client's command, run to its end or to the end of its time.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::Error;

/// Longer than any pull or build in our tests takes on two slow cores; a hang is a failure and must end.
pub(super) const LIMIT: Duration = Duration::from_mins(5);

/// Runs the command without standard input. A status other than 0 is [`Error::Failed`], with everything it said.
pub(super) fn run(command: &mut Command, limit: Duration) -> Result<Output, Error> {
    let line = command_line(command);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Its own group, so that what it started ends with it.
        .process_group(0)
        .spawn()
        .map_err(|source| Error::Io { operation: "start a command", source })?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (sender, receiver) = mpsc::channel();
    let waiter = std::thread::spawn(move || {
        // The receiver waits for as long as this thread runs: it always listens.
        let _ = sender.send(child.wait_with_output());
    });
    let ended = if let Ok(ended) = receiver.recv_timeout(limit) {
        Some(ended)
    } else {
        if let Some(group) = group {
            // It may have ended in this very moment; then there is nothing to kill.
            let _ = kill_process_group(group, Signal::KILL);
        }
        None
    };
    // The thread ends when the process and its pipes do, which the kill makes certain.
    let _ = waiter.join();
    let Some(ended) = ended else {
        return Err(Error::TimedOut { command: line, limit });
    };
    let output = ended.map_err(|source| Error::Io { operation: "read a command's output", source })?;
    if output.status.success() {
        return Ok(output);
    }
    Err(Error::Failed {
        command: line,
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn command_line(command: &Command) -> OsString {
    let mut line = command.get_program().to_owned();
    for argument in command.get_args() {
        line.push(" ");
        line.push(argument);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn gives_what_a_command_said() {
        let output = run(&mut shell("echo out; echo err >&2"), LIMIT).unwrap();
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    }

    #[test]
    fn tells_how_a_command_failed() {
        let error = run(&mut shell("echo why >&2; exit 3"), LIMIT).unwrap_err();
        let Error::Failed { status, stderr, .. } = &error else { panic!("{error}") };
        assert_eq!((status.code(), stderr.as_str()), (Some(3), "why\n"));
    }

    #[test]
    fn ends_a_command_and_its_children_when_time_is_up() {
        // The child keeps the pipe open: if it survived, reading the output would not end.
        let error = run(&mut shell("sleep 1000 & sleep 1000"), Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    }
}
