//! What every cache of names keeps.

use std::time::{Duration, SystemTime};

use pier_oci::{Descriptor, Digest, MediaType, Reference};

use crate::{NameCache, RememberedName, RemoteTag};

/// The contract of [`NameCache`], on one that remembers nothing yet.
pub async fn remembers_what_it_was_told(cache: &dyn NameCache) {
    assert_eq!(cache.get_many(&[]).await.unwrap(), []);
    let names = ["a.example/app:1", "b.example/app:1", "a.example/app:2", "a.example/other/app:1"].map(tag);
    assert_eq!(cache.get_many(&names).await.unwrap(), [None, None, None, None]);

    let (first, second) = (name(b"first", 1_000), name(b"second", 2_000));
    cache.put_many(&[]).await.unwrap();
    cache.put_many(&[(names[0].clone(), first.clone()), (names[2].clone(), second.clone())]).await.unwrap();
    // S7: what one registry, repository or tag said is not said of another one.
    assert_eq!(
        cache.get_many(&names).await.unwrap(),
        [Some(first.clone()), None, Some(second.clone()), None]
    );

    // The order is that of the question, and a name may be asked for twice.
    let asked = [names[2].clone(), names[1].clone(), names[0].clone(), names[2].clone()];
    assert_eq!(
        cache.get_many(&asked).await.unwrap(),
        [Some(second.clone()), None, Some(first), Some(second.clone())]
    );

    cache.put_many(&[(names[0].clone(), second.clone())]).await.unwrap();
    assert_eq!(cache.get_many(&names[..1]).await.unwrap(), [Some(second)]);
}

fn tag(text: &str) -> RemoteTag {
    let Reference { repository, tag, .. } = text.parse().unwrap();
    RemoteTag { repository, tag: tag.unwrap() }
}

/// One that was resolved some seconds ago.
fn name(bytes: &[u8], seconds: u64) -> RememberedName {
    // Times are kept to the millisecond.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    RememberedName {
        descriptor: Descriptor::new(MediaType::OCI_INDEX, Digest::sha256(bytes), bytes.len() as u64),
        resolved_at: SystemTime::UNIX_EPOCH + Duration::from_secs(now - seconds),
    }
}
