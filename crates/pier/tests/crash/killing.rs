//! `kill -9` at random points, again and again on one data folder.

use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use crate::{
    account::Account,
    client::{Client, Response},
    dice::{Dice, seed},
    material::{Piece, image, piece},
    push::{self, STYLES},
    server::{self, Server},
};

const ROUNDS: usize = 100;

/// Clients at once, each with a repository of its own and all with the same content.
const CLIENTS: usize = 3;

/// How long a round may take to get as far as it is to get.
const PATIENCE: Duration = Duration::from_secs(20);

/// How far a round has come.
#[derive(Debug, Default)]
struct Round {
    answers: Mutex<usize>,
    answered: Condvar,
    killed: AtomicBool,
}

/// One client over all rounds.
#[derive(Debug)]
struct Customer {
    repository: String,
    others: Vec<String>,
    account: Account,
    dice: Dice,
    content: Vec<Piece>,
}

#[test]
fn a_hundred_kills_lose_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut dice = Dice::new(seed());
    let mut content: Vec<Piece> = (0..8).map(|number| piece(number, 1 + number * number * 1_000)).collect();
    content.push(piece(8, 3 << 20));
    let names: Vec<String> = (0..CLIENTS).map(|number| format!("client/{number}")).collect();
    let mut customers: Vec<Customer> = names
        .iter()
        .map(|repository| Customer {
            repository: repository.clone(),
            others: names.iter().filter(|name| *name != repository).cloned().collect(),
            account: Account::default(),
            dice: Dice::new(dice.roll()),
            content: content.clone(),
        })
        .collect();
    for _ in 0..ROUNDS {
        let enough = 5 + dice.below(60);
        let pause = Duration::from_micros(dice.roll() % 2_000);
        round(&data, &mut customers, enough, pause);
    }

    // What only a lease kept may go now; what a manifest names may not.
    server::all_is_well(&data);
    let server = Server::start(&data);
    let mut client = server.client();
    for customer in &mut customers {
        customer.account.check(&mut client, |path| path.contains("/manifests/")).unwrap();
        customer.images_are_whole(&mut client);
    }
    server.has_not_failed();
}

fn round(data: &Path, customers: &mut [Customer], enough: usize, pause: Duration) {
    let mut server = Server::start(data);
    let address = server.0.address();
    let round = Round::default();
    thread::scope(|scope| {
        for customer in customers {
            let round = &round;
            scope.spawn(move || customer.shop(&mut Client::new(address), round));
        }
        let prunes = scope.spawn(|| prune_until_killed(data, &round));
        let answers = round.answers.lock().unwrap();
        let (answers, waited) =
            round.answered.wait_timeout_while(answers, PATIENCE, |answers| *answers < enough).unwrap();
        drop(answers);
        // Not always right behind an answer.
        thread::park_timeout(pause);
        round.killed.store(true, SeqCst);
        let status = server.0.kill9().unwrap();
        assert_eq!(status.signal(), Some(9), "the server ended by itself: {}", server.0.stderr());
        assert!(!waited.timed_out(), "the clients get no answers");
        prunes.join().unwrap();
    });
    server.has_not_failed();
}

/// One collector after the other; the last is killed too.
fn prune_until_killed(data: &Path, round: &Round) {
    loop {
        let mut prune = server::spawn(data, &["prune"]);
        let status = loop {
            if round.killed.load(SeqCst) {
                prune.kill().unwrap();
                prune.wait().unwrap();
                return;
            }
            if let Some(status) = prune.try_wait().unwrap() {
                break status;
            }
            // Std cannot wait for a process and a flag at once.
            thread::park_timeout(Duration::from_millis(1));
        };
        assert!(status.success(), "pier prune: {:?}", prune.wait_with_output());
    }
}

impl Customer {
    /// Checks what is known, then goes on until the server is killed.
    fn shop(&mut self, client: &mut Client, round: &Round) {
        let mut checked = self.account.check(client, |_| true);
        while checked.is_ok() {
            checked = self.one_thing(client).map(|response| {
                assert!(response.status < 500, "{response:?}");
                *round.answers.lock().unwrap() += 1;
                round.answered.notify_all();
            });
        }
        assert!(round.killed.load(SeqCst), "the server lives and yet: {checked:?}");
    }

    fn one_thing(&mut self, client: &mut Client) -> io::Result<Response> {
        match self.dice.below(10) {
            0..4 => self.push_blob(client),
            4 => self.mount(client),
            5 => self.delete_blob(client),
            6..8 => self.push_image(client),
            8 => self.remove_a_name(client),
            _ => self.pull(client),
        }
    }

    fn any_piece(&mut self) -> Piece {
        let number = self.dice.below(self.content.len());
        self.content[number].clone()
    }

    fn blob_path(&self, piece: &Piece) -> String {
        format!("/v2/{}/blobs/{}", self.repository, piece.digest)
    }

    fn manifest_path(&self, name: &str) -> String {
        format!("/v2/{}/manifests/{name}", self.repository)
    }

    fn push_blob(&mut self, client: &mut Client) -> io::Result<Response> {
        let piece = self.any_piece();
        let style = self.dice.one_of(&STYLES);
        let answer = push::blob(client, &self.repository, &piece, style);
        self.account.note(&[(self.blob_path(&piece), Some(&piece))], &[201], &answer);
        let response = answer?;
        assert_eq!(response.status, 201, "{style:?} {response:?}");
        Ok(response)
    }

    fn mount(&mut self, client: &mut Client) -> io::Result<Response> {
        let piece = self.any_piece();
        let from = self.others[self.dice.below(self.others.len())].clone();
        let answer = push::mount(client, &self.repository, &piece.digest, &from);
        self.account.note(&[(self.blob_path(&piece), Some(&piece))], &[201], &answer);
        let response = answer?;
        match response.status {
            201 => Ok(response),
            // The other does not show it; the session that was opened instead is not wanted.
            202 => {
                let ended = client.send("DELETE", &response.location(), &[], b"")?;
                assert_eq!(ended.status, 204, "{ended:?}");
                Ok(ended)
            }
            _ => panic!("{response:?}"),
        }
    }

    fn delete_blob(&mut self, client: &mut Client) -> io::Result<Response> {
        let piece = self.any_piece();
        let path = self.blob_path(&piece);
        let answer = client.send("DELETE", &path, &[], b"");
        let may_show = self.account.may_show(&path);
        let surely_shows = self.account.surely_shows(&path);
        self.account.note(&[(path, None)], &[202, 404], &answer);
        let response = answer?;
        match response.status {
            202 => assert!(may_show, "what was never pushed was deleted"),
            404 => assert!(!surely_shows, "what was acknowledged is gone"),
            // A manifest names it.
            405 => assert!(may_show, "{response:?}"),
            _ => panic!("{response:?}"),
        }
        Ok(response)
    }

    fn push_image(&mut self, client: &mut Client) -> io::Result<Response> {
        let pieces = [self.any_piece(), self.any_piece(), self.any_piece()];
        let manifest = image(&pieces[0], &pieces[1..]);
        let tag = self.dice.one_of(&["one", "two", "three"]);
        let surely = pieces.iter().all(|piece| self.account.surely_shows(&self.blob_path(piece)));
        let changes = [
            (self.manifest_path(tag), Some(&manifest)),
            (self.manifest_path(&manifest.digest), Some(&manifest)),
        ];
        let answer = push::manifest(client, &self.repository, tag, &manifest);
        self.account.note(&changes, &[201], &answer);
        let response = answer?;
        match response.status {
            201 => {}
            404 => assert!(!surely, "what the manifest names was acknowledged: {response:?}"),
            _ => panic!("{response:?}"),
        }
        Ok(response)
    }

    /// A tag, or what it names with all its tags.
    fn remove_a_name(&mut self, client: &mut Client) -> io::Result<Response> {
        let tag = self.dice.one_of(&["one", "two", "three"]);
        let path = self.manifest_path(tag);
        if self.dice.below(2) == 0 {
            let answer = client.send("DELETE", &path, &[], b"");
            self.account.note(&[(path, None)], &[202, 404], &answer);
            let response = answer?;
            assert!(matches!(response.status, 202 | 404), "{response:?}");
            return Ok(response);
        }
        let shown = client.get(&path)?;
        let Some(digest) = shown.header("docker-content-digest").map(str::to_owned) else { return Ok(shown) };
        let answer = client.send("DELETE", &self.manifest_path(&digest), &[], b"");
        let names = self.account.showing(&self.manifest_path(""), &digest);
        let changes: Vec<_> = names.into_iter().map(|name| (name, None)).collect();
        self.account.note(&changes, &[202], &answer);
        let response = answer?;
        assert_eq!(response.status, 202, "{response:?}");
        Ok(response)
    }

    /// From anybody: what comes is what was asked for.
    fn pull(&mut self, client: &mut Client) -> io::Result<Response> {
        let piece = self.any_piece();
        let from = self.others[self.dice.below(self.others.len())].clone();
        let response = client.get(&format!("/v2/{from}/blobs/{}", piece.digest))?;
        match response.status {
            200 => assert_eq!(response.body[..], piece.bytes[..]),
            404 => {}
            _ => panic!("{response:?}"),
        }
        Ok(response)
    }

    /// What the manifests of the repository name is there, whole.
    fn images_are_whole(&self, client: &mut Client) {
        for tag in ["one", "two", "three"] {
            let shown = client.get(&self.manifest_path(tag)).unwrap();
            if shown.status == 404 {
                continue;
            }
            let manifest: serde_json::Value = serde_json::from_slice(&shown.body).unwrap();
            let layers = manifest["layers"].as_array().unwrap();
            for child in layers.iter().chain([&manifest["config"]]) {
                let digest = child["digest"].as_str().unwrap();
                let piece = self.content.iter().find(|piece| piece.digest == digest).unwrap();
                let blob = client.get(&self.blob_path(piece)).unwrap();
                assert_eq!((blob.status, &blob.body[..]), (200, &piece.bytes[..]), "{digest}");
            }
        }
    }
}
