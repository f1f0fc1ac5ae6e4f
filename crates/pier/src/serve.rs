//! Sockets, connections and the way to stop.

mod connections;
mod host_check;
mod listener;
mod signals;

pub(crate) use listener::listen;
pub(crate) use signals::Signals;

use pier_registry::Registry;

use self::{connections::Connections, listener::Listener};
use crate::{
    config::ServeSection,
    failure::{Failure, Status},
};

/// Serves until a signal comes; then requests in flight finish, and a second signal ends at once.
///
/// Whatever is unfinished in the end keeps its bytes: the next server goes on with the same parts and uploads.
pub(crate) async fn run(
    listener: Listener,
    mut signals: Signals,
    registry: Registry,
    section: &ServeSection,
) -> Result<Status, Failure> {
    let mut connections = Connections::new(registry.clone(), listener.address(), section);
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.has_room() => connections.start(accepted),
            () = connections.one_ended(), if !connections.is_empty() => {}
            () = signals.next() => break,
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
        () = signals.next() => {
            tracing::warn!("ended by a second signal; unfinished uploads are kept");
            Ok(Status::Unfinished)
        }
        () = tokio::time::sleep(section.drain_timeout) => {
            tracing::warn!(waited = ?section.drain_timeout, "some requests did not finish; unfinished uploads are kept");
            Ok(Status::Unfinished)
        }
    }
}
