//! Sockets, connections and the way to stop.

mod access;
mod collection;
mod connections;
mod crowd;
mod descriptors;
mod host_check;
mod keeping;
mod listener;
mod monitor;
mod observed;
mod origin_check;
mod pulse;
mod request_id;
mod socket;
mod tls;
mod watched;

pub(crate) use self::{
    access::{Access, BCRYPT_BYTES, Others, Password, Scheme, Users, check_user_name},
    collection::{Collection, Timing},
    connections::Entrance,
    listener::{Listener, listen},
    monitor::Monitor,
    tls::{Files as TlsFiles, Tls},
};

use std::{pin::pin, sync::Arc, time::Duration};

use pier_registry::Registry;
use tokio::task::JoinSet;

use self::{
    connections::{Connections, Served},
    request_id::RequestIds,
};
use crate::{
    config::ServeSection,
    failure::{Failure, Status},
    signals::Signals,
};

/// A server's monitor, and the address of its own that it has, if it has one.
#[derive(Debug)]
pub(crate) struct Monitored {
    pub(crate) monitor: Monitor,
    pub(crate) listener: Option<Listener>,
}

/// Serves until a signal comes; then requests in flight finish, and a second signal ends at once.
///
/// Whatever is unfinished in the end keeps its bytes: the next server goes on with the same parts and uploads.
pub(crate) async fn run(
    listener: Listener,
    mut signals: Signals,
    registry: Registry,
    entrance: Entrance,
    monitor: Monitored,
    section: &ServeSection,
) -> Result<Status, Failure> {
    let descriptors = descriptors::raise();
    let max = descriptors::connections(section.max_connections, descriptors);
    if max < section.max_connections {
        tracing::warn!(max, descriptors, "the limit of open files allows fewer connections than configured");
    }
    let ids = Arc::new(RequestIds::new());
    // Ends with this function, and by itself never.
    let mut tasks = JoinSet::new();
    let files = entrance.watched();
    tasks.spawn(keeping::for_ever("looking at certificates and users", move || watched::keep(files.clone())));
    let Monitored { monitor, listener: monitoring } = monitor;
    if let Some(listener) = monitoring.map(Arc::new) {
        let (monitor, ids) = (monitor.clone(), Arc::clone(&ids));
        tasks.spawn(keeping::for_ever("answering on the address for monitoring", move || {
            monitor::serve(Arc::clone(&listener), monitor.clone(), Arc::clone(&ids))
        }));
    }
    let served = Served { registry: registry.clone(), monitor: monitor.clone(), ids };
    let mut connections = Connections::new(served, listener.address(), entrance, section, max);
    {
        let mut stopping = pin!(stop_asked(&mut signals, &monitor, section.drain_delay));
        loop {
            tokio::select! {
                accepted = listener.accept(), if connections.has_room() => connections.start(accepted),
                () = connections.one_ended(), if !connections.is_empty() => {}
                () = stopping.as_mut() => break,
            }
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

/// Waits for a signal, and then, while clients are still served, until those who ask whether this server is ready have had the
/// time to send them elsewhere. A second signal ends that.
async fn stop_asked(signals: &mut Signals, monitor: &Monitor, delay: Duration) {
    signals.next().await;
    monitor.drain();
    if delay.is_zero() {
        return;
    }
    tracing::info!(?delay, "not ready any more, and still serving; a second signal stops at once");
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        _ = signals.next() => {}
    }
}
