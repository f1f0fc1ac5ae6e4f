//! A process that uses the registry as many clients do, in no order at all.

use std::{thread, time::Duration};

use super::{
    WorkerOptions,
    content::Content,
    dice::Dice,
    history::now,
    registry::{Pages, Registry, Under},
    supervisor::SERVERS,
    uploads::STYLES,
};

/// Things that a worker does in a second: as fast as it can, then it rests, so that hours fit into memory and there is still a crowd.
const A_SECOND: u32 = 25;

/// Lists are asked for in both ways.
const PAGES: [Pages; 2] = [Pages::Whole, Pages::OfOne];

const A_SECOND_NANOS: u64 = 1_000_000_000;

/// Works until its time is over, or until an answer is none that any registry may give.
pub(super) fn run(options: &WorkerOptions) -> anyhow::Result<()> {
    let content = Content::new(options.seed);
    let mut dice = Dice::new(options.seed.wrapping_add(1 + u64::from(options.number)));
    let mut registry = Registry::new(&content, &options.folder, options.number, SERVERS)?;
    let mut outcome = Ok(());
    while outcome.is_ok() && now() < options.until {
        for _ in 0..A_SECOND {
            outcome = outcome.and_then(|()| one_thing(&mut registry, &content, &mut dice));
        }
        // All processes share this clock, so all of them begin at once.
        thread::park_timeout(Duration::from_nanos(A_SECOND_NANOS - now() % A_SECOND_NANOS));
    }
    registry.finish()?;
    outcome
}

fn one_thing(registry: &mut Registry<'_>, content: &Content, dice: &mut Dice) -> anyhow::Result<()> {
    let server = dice.below(SERVERS);
    let repository = dice.one_of(&content.repositories).as_str();
    let tag = dice.one_of(&content.tags).as_str();
    let blob = dice.below(content.blobs.len());
    let manifest = dice.below(content.manifests.len());
    let style = *dice.one_of(&STYLES);
    match dice.below(100) {
        0..12 => registry.push(server, repository, blob, style),
        12..34 => push_image(registry, content, dice, repository, manifest),
        34..50 => pull(registry, content, dice, repository, tag),
        50..58 => registry.delete_manifest(server, repository, manifest),
        58..64 => registry.delete_tag(server, repository, tag),
        64..70 => registry.delete_blob(server, repository, blob),
        70..76 => {
            let from = (dice.below(3) != 0).then(|| dice.one_of(&content.repositories).as_str());
            registry.mount(server, repository, blob, from)
        }
        76..82 => registry.blob(server, "HEAD", repository, blob).map(drop),
        82..86 => registry.manifest(server, repository, manifest).map(drop),
        86..90 => registry.tags(server, repository, *dice.one_of(&PAGES)),
        90..94 => registry.referrers(server, repository, manifest, *dice.one_of(&PAGES)),
        94..98 => registry.begin_and_cancel(server, repository, blob),
        _ => registry.begin(server, repository, blob).map(drop),
    }
}

/// As clients push: a HEAD for each blob, those that are not there, the manifests that it names, and itself last. Each request at any
/// server.
fn push_image(
    registry: &mut Registry<'_>,
    content: &Content,
    dice: &mut Dice,
    repository: &str,
    place: usize,
) -> anyhow::Result<()> {
    let manifest = &content.manifests[place];
    for child in &manifest.manifests {
        push_image(registry, content, dice, repository, *child)?;
    }
    for blob in &manifest.blobs {
        if registry.blob(dice.below(SERVERS), "HEAD", repository, *blob)? != Some(true) {
            registry.push(dice.below(SERVERS), repository, *blob, *dice.one_of(&STYLES))?;
        }
    }
    let tag = dice.one_of(&content.tags).as_str();
    let under = match dice.below(4) {
        0 => Under::Digest,
        // Somebody else may move it meanwhile.
        1 => Under::TagSeen { tag, seen: registry.tag(dice.below(SERVERS), repository, tag)? },
        _ => Under::Tag(tag),
    };
    registry.put_manifest(dice.below(SERVERS), repository, place, under)
}

/// As clients pull: the tag, then all that it names.
fn pull(
    registry: &mut Registry<'_>,
    content: &Content,
    dice: &mut Dice,
    repository: &str,
    tag: &str,
) -> anyhow::Result<()> {
    let Some(place) = registry.tag(dice.below(SERVERS), repository, tag)? else { return Ok(()) };
    for child in &content.manifests[place].manifests {
        registry.manifest(dice.below(SERVERS), repository, *child)?;
    }
    for blob in &content.manifests[place].blobs {
        registry.blob(dice.below(SERVERS), "GET", repository, *blob)?;
    }
    Ok(())
}
