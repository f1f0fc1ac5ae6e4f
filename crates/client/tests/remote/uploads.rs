//! Uploads that are gone on with, cut into chunks, sent elsewhere, or finished without anybody hearing of it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Method, StatusCode};
use pier_client::{Client, Remote, Timeouts, UploadSessions};
use pier_content::{Error, Jitter, Origin, Progress, RetryPolicy, RetryingTarget, Source, Target};
use pier_oci::{Descriptor, Digest, Reference, Repository};
use pier_testkit::{
    faults::{Canned, Fault, FaultyProxy, Kind, RetryAfter, Script, Seen, When},
    image::{BuiltImage, ImageBuilder, Layer},
    test_registry::TestRegistry,
};

use crate::support::{places, reference, registry};

const IMAGE: &str = "team/app:v1";

/// An upload that is remembered from earlier, as a file of an earlier run may say it.
#[derive(Debug, Default)]
struct Hint(Mutex<Option<String>>);

impl UploadSessions for Hint {
    fn find(&self, _: &Repository, _: &Digest) -> Option<String> {
        self.0.lock().unwrap().clone()
    }

    fn keep(&self, _: &Repository, _: &Digest, location: &str) {
        *self.0.lock().unwrap() = Some(location.to_owned());
    }

    fn forget(&self, _: &Repository, _: &Digest) {
        *self.0.lock().unwrap() = None;
    }
}

/// What holds a blob before it is sent.
#[derive(Clone, Copy, Debug)]
enum Held {
    /// A file, which a connection may send by itself.
    InAFile,
    InMemory,
}

/// Where a blob comes from and where it goes to.
struct Way {
    held: Held,
    from: TestRegistry,
    to: TestRegistry,
    proxy: FaultyProxy,
    image: BuiltImage,
    hint: Arc<Hint>,
}

impl Way {
    async fn new(script: Script) -> Self {
        Self::with_layer(5_000_000, script).await
    }

    async fn with_layer(bytes: usize, script: Script) -> Self {
        let (from, to) = (registry().await, registry().await);
        let image = ImageBuilder::new().layer(Layer::random(3, bytes)).build();
        from.push(&image, IMAGE).await.unwrap();
        let proxy = FaultyProxy::start(to.address(), script).await.unwrap();
        Self { held: Held::InAFile, from, to, proxy, image, hint: Arc::default() }
    }

    /// The same from everywhere.
    async fn each(script: Script) -> [Self; 2] {
        let (file, memory) = (Self::new(script.clone()).await, Self::new(script).await);
        [file, Self { held: Held::InMemory, ..memory }]
    }

    async fn source(&self) -> Box<dyn Source> {
        let [files, memory] = places(&self.from, IMAGE).await;
        match self.held {
            Held::InAFile => files,
            Held::InMemory => memory,
        }
    }

    fn layer(&self) -> &Descriptor {
        &self.image.blobs.iter().max_by_key(|blob| blob.descriptor.size).unwrap().descriptor
    }

    fn there(&self) -> Repository {
        self.proxy.image_ref(IMAGE).parse::<Reference>().unwrap().repository
    }

    fn remote(&self) -> Remote {
        let short = Duration::from_secs(1);
        let timeouts = Timeouts { connect: Duration::from_secs(5), answer: short, stall: short };
        let client = Client::builder().timeouts(timeouts).sessions(self.hint.clone()).build().unwrap();
        client.remote(&self.there().registry).unwrap()
    }

    /// One attempt.
    async fn upload(&self) -> Result<(), Error> {
        self.upload_by(&self.remote()).await
    }

    async fn upload_by(&self, target: &dyn Target) -> Result<(), Error> {
        let source = self.source().await;
        let here = reference(&self.from, IMAGE).repository;
        let origin = Origin { source: &*source, repository: &here };
        target.upload(&self.there(), self.layer(), origin, &Progress::default()).await
    }

    /// Several attempts.
    async fn insist(&self) -> Result<(), Error> {
        let policy =
            RetryPolicy { first_delay: Duration::from_millis(1), ..RetryPolicy::new(Jitter::none()) };
        self.upload_by(&RetryingTarget::new(Arc::new(self.remote()), policy)).await
    }

    async fn is_there(&self) -> bool {
        let client = Client::builder().build().unwrap();
        let repository = reference(&self.to, IMAGE).repository;
        client.remote(&repository.registry).unwrap().has(&repository, self.layer()).await.unwrap()
    }

    fn seen(&self, method: &Method) -> Vec<Seen> {
        self.proxy.requests().into_iter().filter(|seen| seen.method == *method).collect()
    }
}

fn get() -> When {
    When::get(Kind::Upload)
}

#[tokio::test]
async fn an_upload_that_was_begun_before_is_a_hint_and_no_more() {
    let elsewhere = registry().await;
    let denied = Canned::error(StatusCode::FORBIDDEN, "DENIED");
    let refusing = FaultyProxy::start(elsewhere.address(), Script::new().answer(When::any(), denied.clone()))
        .await
        .unwrap();
    let gone = "OWN/v2/team/app/blobs/uploads/0190b5d6-0000-7000-8000-000000000000";
    for (kept, script) in [
        ("what is no URL", Script::new()),
        ("http://169.254.169.254/latest/meta-data", Script::new()),
        ("http://127.0.0.1:1/nobody/listens", Script::new()),
        ("OTHER/upload", Script::new()),
        (gone, Script::new()),
        (gone, Script::new().answer(get(), denied)),
        (gone, Script::new().answer(get(), Canned::challenge("Basic realm=\"r\""))),
        (gone, Script::new().answer(get(), Canned::new(StatusCode::BAD_REQUEST))),
        (gone, Script::new().answer(get(), Canned::html(StatusCode::INTERNAL_SERVER_ERROR))),
        (gone, Script::new().rule(get(), Fault::StallHead)),
        (gone, Script::new().rule(get(), Fault::CutBefore)),
    ] {
        let way = Way::new(script.clone()).await;
        let url = kept.replace("OWN", &way.proxy.url()).replace("OTHER", &refusing.url());
        way.hint.keep(&way.there(), &way.layer().digest, &url);
        way.upload().await.unwrap_or_else(|error| panic!("{kept} {script:?}: {error:?}"));
        assert!(way.is_there().await, "{kept}");
        assert_eq!(way.hint.find(&way.there(), &way.layer().digest), None, "{kept}");
    }
}

/// The registry says that it goes on there, and then does not. The connection goes with the bytes that nobody took, so that costs an attempt.
#[tokio::test]
async fn an_upload_that_is_there_only_by_the_registrys_word_is_begun_anew() {
    let there = Canned::new(StatusCode::NO_CONTENT).field("Range", "0-999");
    let way = Way::new(Script::new().answer(get(), there)).await;
    let gone = format!("{}/v2/team/app/blobs/uploads/0190b5d6-0000-7000-8000-000000000000", way.proxy.url());
    way.hint.keep(&way.there(), &way.layer().digest, &gone);
    way.insist().await.unwrap();
    assert!(way.is_there().await);
}

#[tokio::test]
async fn an_upload_that_fails_at_the_registry_is_not_gone_on_with_for_ever() {
    let error = Canned::html(StatusCode::INTERNAL_SERVER_ERROR);
    let way = Way::new(Script::new()).await;
    // Begun, and broken off.
    way.proxy.set_script(Script::new().rule(When::on(Method::PATCH, Kind::Upload), Fault::CutBefore));
    way.upload().await.unwrap_err();
    let kept = way.hint.find(&way.there(), &way.layer().digest).unwrap();
    way.proxy.set_script(Script::new().answer(When::on(Method::PATCH, Kind::Upload).once(), error));
    way.upload().await.unwrap_err();
    assert_eq!(way.hint.find(&way.there(), &way.layer().digest), None);
    way.upload().await.unwrap();
    assert!(way.seen(&Method::PATCH).iter().filter(|seen| kept.ends_with(&seen.path)).count() <= 2);
}

/// All of it is there, and the registry fails whenever it is to look at it.
#[tokio::test]
async fn an_upload_that_cannot_be_finished_is_begun_anew() {
    let way = Way::new(Script::new()).await;
    let error = || Canned::html(StatusCode::INTERNAL_SERVER_ERROR);
    way.proxy.set_script(Script::new().answer(When::on(Method::PUT, Kind::Upload), error()));
    way.upload().await.unwrap_err();
    assert!(
        way.hint.find(&way.there(), &way.layer().digest).is_some(),
        "the bytes are worth one more attempt"
    );
    way.upload().await.unwrap_err();
    assert_eq!(way.hint.find(&way.there(), &way.layer().digest), None);
    way.proxy.set_script(Script::new());
    way.upload().await.unwrap();
    assert!(way.is_there().await);
}

#[tokio::test]
async fn a_registry_that_has_kept_less_is_asked_how_far_it_is() {
    let most = Fault::Field { name: "oci-chunk-max-length", value: "2000000".to_owned() };
    let script = Script::new()
        .rule(When::on(Method::POST, Kind::Upload), most)
        .answer(When::on(Method::PATCH, Kind::Upload).skip(1).once(), Canned::range_not_satisfiable());
    let way = Way::new(script).await;
    way.insist().await.unwrap();
    assert!(way.is_there().await);
    assert_eq!(way.seen(&Method::POST).len(), 1, "what was there was sent again");
}

/// How much it takes at once a registry says where an upload begins, and this process has not begun it.
#[tokio::test]
async fn an_upload_of_which_too_much_comes_at_once_is_begun_anew() {
    let way = Way::new(Script::new()).await;
    way.proxy.set_script(Script::new().rule(When::on(Method::PATCH, Kind::Upload), Fault::CutBefore));
    way.upload().await.unwrap_err();
    let too_large = Canned::new(StatusCode::PAYLOAD_TOO_LARGE);
    let most = Fault::Field { name: "oci-chunk-max-length", value: "2000000".to_owned() };
    way.proxy.set_script(
        Script::new()
            .rule(When::on(Method::POST, Kind::Upload), most)
            .answer(When::on(Method::PATCH, Kind::Upload).once(), too_large),
    );
    way.upload().await.unwrap_err();
    way.upload().await.unwrap();
    let chunks: Vec<u64> = way.seen(&Method::PATCH).iter().map(|seen| seen.uploaded).collect();
    assert_eq!(chunks[chunks.len() - 3..], [2_000_000, 2_000_000, 1_000_000]);
}

#[tokio::test]
async fn a_pause_that_is_asked_for_does_not_cost_the_bytes_that_are_there() {
    let way = Way::new(Script::new()).await;
    let cut = Fault::CutUpload { after: 3_000_000 };
    way.proxy.set_script(Script::new().rule(When::on(Method::PATCH, Kind::Upload), cut));
    way.upload().await.unwrap_err();
    let busy = Canned::too_many_requests(RetryAfter::Seconds(0));
    way.proxy.set_script(Script::new().answer(get().once(), busy));
    way.insist().await.unwrap();
    let again = way.proxy.uploaded_blobs() - way.layer().size;
    assert!(again <= 1 << 20, "{again} bytes were sent twice");
}

#[tokio::test]
async fn a_blob_whose_last_answer_was_lost_is_not_sent_again() {
    let put = || When::on(Method::PUT, Kind::Upload).once();
    let not_yet = Canned::new(StatusCode::NOT_FOUND);
    for script in [
        Script::new().rule(put(), Fault::CutAfter),
        // The registry was still busy with it when it was asked.
        Script::new().rule(put(), Fault::CutAfter).answer(When::on(Method::HEAD, Kind::Blob).once(), not_yet),
    ] {
        let way = Way::new(script).await;
        way.insist().await.unwrap();
        assert!(way.is_there().await);
        assert_eq!(way.proxy.uploaded_blobs(), way.layer().size);
    }
}

#[tokio::test]
async fn a_blob_goes_in_the_chunks_that_the_registry_wants() {
    let begun = || When::on(Method::POST, Kind::Upload);
    let said = |name, bytes: u64| Fault::Field { name, value: bytes.to_string() };
    for (script, expected) in [
        (Script::new(), &[5_000_000][..]),
        (Script::new().rule(begun(), said("oci-chunk-min-length", 1_000_000)), &[5_000_000]),
        (Script::new().rule(begun(), said("oci-chunk-min-length", 9_000_000)), &[5_000_000]),
        (
            Script::new().rule(begun(), said("oci-chunk-max-length", 2_000_000)),
            &[2_000_000, 2_000_000, 1_000_000],
        ),
    ] {
        for way in Way::each(script).await {
            way.upload().await.unwrap();
            assert!(way.is_there().await);
            let chunks: Vec<u64> = way.seen(&Method::PATCH).iter().map(|seen| seen.uploaded).collect();
            assert_eq!(chunks, expected);
        }
    }
}

/// The least that a registry takes holds also where something on the way takes little.
#[tokio::test]
async fn a_chunk_is_not_shorter_than_the_registry_takes() {
    let least = Fault::Field { name: "oci-chunk-min-length", value: "4000000".to_owned() };
    let script = Script::new()
        .rule(When::on(Method::POST, Kind::Upload), least)
        .answer(When::on(Method::PATCH, Kind::Upload).once(), Canned::new(StatusCode::PAYLOAD_TOO_LARGE));
    let way = Way::new(script).await;
    way.insist().await.unwrap();
    let chunks: Vec<u64> = way
        .seen(&Method::PATCH)
        .iter()
        .filter(|seen| seen.status == Some(202))
        .map(|seen| seen.uploaded)
        .collect();
    assert_eq!(chunks.iter().sum::<u64>(), way.layer().size);
    assert!(chunks[..chunks.len() - 1].iter().all(|bytes| *bytes >= 4_000_000), "{chunks:?}");
}

#[tokio::test]
async fn a_blob_is_sent_where_the_registry_sends_it() {
    for way in Way::each(Script::new()).await {
        let storage = FaultyProxy::start(way.to.address(), Script::new()).await.unwrap();
        let leads = Fault::RedirectTo(storage.url());
        way.proxy.set_script(Script::new().rule(When::on(Method::PATCH, Kind::Upload), leads));
        way.upload().await.unwrap();
        assert!(way.is_there().await);
        assert_eq!(storage.uploaded_blobs(), way.layer().size);
        assert!(storage.requests().iter().all(|seen| seen.authorization.is_none()));
    }
}

#[tokio::test]
async fn s3_a_blob_is_not_sent_where_no_answer_may_lead() {
    for (script, expected) in [
        (
            Script::new().answer(
                When::on(Method::PATCH, Kind::Upload),
                Canned::redirect("http://169.254.169.254/latest"),
            ),
            "untrusted",
        ),
        (Script::new().rule(When::on(Method::PATCH, Kind::Upload), Fault::RedirectLoop), "unsupported"),
        (
            Script::new().rule(
                When::on(Method::POST, Kind::Upload),
                Fault::WrongLocation("http://169.254.169.254/upload".to_owned()),
            ),
            "untrusted",
        ),
        (
            Script::new().rule(
                When::on(Method::POST, Kind::Upload),
                Fault::WrongLocation("ftp://example.org/upload".to_owned()),
            ),
            "untrusted",
        ),
    ] {
        for way in Way::each(script.clone()).await {
            let error = way.upload().await.unwrap_err();
            assert_eq!(error.code(), expected, "{:?} {script:?}: {error:?}", way.held);
            assert!(!way.is_there().await);
        }
    }
}

/// Bytes of a layer that goes in one request out of a store, and would be in memory from anywhere else.
const MEDIUM: usize = 3_000_000;

#[tokio::test]
async fn a_verified_blob_of_medium_size_goes_in_one_request() {
    let way = Way::with_layer(MEDIUM, Script::new()).await;
    way.upload().await.unwrap();
    assert!(way.is_there().await);
    assert_eq!(way.seen(&Method::PATCH).len(), 0);
    let sent: Vec<u64> = way.seen(&Method::PUT).iter().map(|seen| seen.uploaded).collect();
    assert_eq!(sent, [way.layer().size]);
}

#[tokio::test]
async fn one_request_that_is_too_large_or_broken_becomes_several() {
    let put = || When::on(Method::PUT, Kind::Upload).once();
    for script in [
        Script::new().answer(put(), Canned::new(StatusCode::PAYLOAD_TOO_LARGE)),
        Script::new().rule(put(), Fault::CutUpload { after: 1_000_000 }),
        Script::new().rule(put(), Fault::CutBefore),
        Script::new().answer(put(), Canned::html(StatusCode::BAD_GATEWAY)),
    ] {
        let way = Way::with_layer(MEDIUM, script.clone()).await;
        way.insist().await.unwrap_or_else(|error| panic!("{script:?}: {error:?}"));
        assert!(way.is_there().await, "{script:?}");
        let sent = way.proxy.uploaded_blobs();
        assert!(sent <= 2 * MEDIUM as u64, "{sent} bytes: {script:?}");
    }
    // What a registry says beforehand costs no attempt.
    let most = Fault::Field { name: "oci-chunk-max-length", value: "2000000".to_owned() };
    let script = Script::new().rule(When::on(Method::POST, Kind::Upload), most);
    let way = Way::with_layer(MEDIUM, script).await;
    way.upload().await.unwrap();
    assert!(way.is_there().await);
    assert_eq!(way.proxy.uploaded_blobs(), MEDIUM as u64);
}

#[tokio::test]
async fn one_request_is_sent_where_the_registry_sends_it() {
    let way = Way::with_layer(MEDIUM, Script::new()).await;
    let storage = FaultyProxy::start(way.to.address(), Script::new()).await.unwrap();
    let leads = || Fault::RedirectTo(storage.url());
    let (put, patch) = (When::on(Method::PUT, Kind::Upload), When::on(Method::PATCH, Kind::Upload));
    way.proxy.set_script(Script::new().rule(put, leads()).rule(patch, leads()));
    way.upload().await.unwrap();
    assert!(way.is_there().await);
    assert_eq!(storage.uploaded_blobs(), way.layer().size);
}

/// All of it is sent at once, and the session is broken at the registry.
#[tokio::test]
async fn one_request_that_fails_is_not_repeated_for_ever() {
    let put = || When::on(Method::PUT, Kind::Upload).once();
    for refusal in
        [Canned::html(StatusCode::INTERNAL_SERVER_ERROR), Canned::new(StatusCode::PAYLOAD_TOO_LARGE)]
    {
        let way = Way::with_layer(MEDIUM, Script::new().rule(put(), Fault::CutBefore)).await;
        way.upload().await.unwrap_err();
        let digest = way.layer().digest;
        assert!(way.hint.find(&way.there(), &digest).is_some());
        way.proxy.set_script(Script::new().answer(put(), refusal));
        way.upload().await.unwrap_err();
        assert_eq!(way.hint.find(&way.there(), &digest), None);
    }
}

/// There is no smaller way for what goes in one request anyway, and what refuses the end of an upload says nothing about its parts.
#[tokio::test]
async fn a_refusal_for_size_that_cannot_be_helped_is_an_answer() {
    let too_large = || Canned::new(StatusCode::PAYLOAD_TOO_LARGE);
    for bytes in [700_000, 5_000_000] {
        let script = Script::new().answer(When::on(Method::PUT, Kind::Upload), too_large());
        let way = Way::with_layer(bytes, script).await;
        let remote = way.remote();
        let error = way.upload_by(&remote).await.unwrap_err();
        assert_eq!(error.code(), "invalid", "{error:?}");
        assert_eq!(way.seen(&Method::PUT).len(), 1);
        // The next blob is cut no smaller for it.
        let next = Way::new(Script::new()).await;
        way.from.push(&next.image, IMAGE).await.unwrap();
        way.proxy.set_script(Script::new());
        let (parts, source) = (way.seen(&Method::PATCH).len(), way.source().await);
        let here = reference(&way.from, IMAGE).repository;
        let origin = Origin { source: &*source, repository: &here };
        remote.upload(&way.there(), next.layer(), origin, &Progress::default()).await.unwrap();
        assert_eq!(way.seen(&Method::PATCH).len() - parts, 1);
    }
}
