//! Sockets, connections and the way to stop.

mod access;
mod connections;
mod crowd;
mod descriptors;
mod host_check;
mod listener;
mod observed;
mod origin_check;
mod pulse;
mod socket;
mod tls;
mod watched;

pub(crate) use self::{
    access::{Access, Others, Password, Scheme, Users},
    connections::Entrance,
    listener::{Listener, listen},
    tls::{Files as TlsFiles, Tls},
};

use pier_registry::Registry;
use tokio::task::JoinSet;

use self::connections::Connections;
use crate::{
    config::ServeSection,
    failure::{Failure, Status},
    signals::Signals,
};

/// Serves until a signal comes; then requests in flight finish, and a second signal ends at once.
///
/// Whatever is unfinished in the end keeps its bytes: the next server goes on with the same parts and uploads.
pub(crate) async fn run(
    listener: Listener,
    mut signals: Signals,
    registry: Registry,
    entrance: Entrance,
    section: &ServeSection,
) -> Result<Status, Failure> {
    let descriptors = descriptors::raise();
    let max = descriptors::connections(section.max_connections, descriptors);
    if max < section.max_connections {
        tracing::warn!(max, descriptors, "the limit of open files allows fewer connections than configured");
    }
    // Ends with this function.
    let mut keeping = JoinSet::new();
    keeping.spawn(watched::keep(entrance.watched()));
    let mut connections = Connections::new(registry.clone(), listener.address(), entrance, section, max);
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.has_room() => connections.start(accepted),
            () = connections.one_ended(), if !connections.is_empty() => {}
            _ = signals.next() => break,
        }
    }
    drop(listener);
    tracing::info!(connections = connections.len(), "stopping; a second signal ends at once");
    let drained = async {
        connections.drain().await;
        registry.settled().await;
    };
    tokio::select! {
        () = drained => {
            tracing::info!("stopped");
            Ok(Status::Done)
        }
        _ = signals.next() => {
            tracing::warn!("ended by a second signal; unfinished uploads are kept");
            Ok(Status::Unfinished)
        }
        () = tokio::time::sleep(section.drain_timeout) => {
            tracing::warn!(waited = ?section.drain_timeout, "some requests did not finish; unfinished uploads are kept");
            Ok(Status::Unfinished)
        }
    }
}
