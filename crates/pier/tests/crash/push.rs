//! The ways in which clients push.

use std::io;

use crate::{
    client::{Client, Response},
    material::{MANIFEST, Piece},
};

/// How a blob is pushed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    /// POST, one PATCH, PUT.
    Stream,
    /// POST, several PATCHes with ranges, PUT with the rest.
    Chunks,
    /// POST, PUT with everything.
    PostPut,
    /// One POST.
    Post,
}

pub(crate) const STYLES: [Style; 4] = [Style::Stream, Style::Chunks, Style::PostPut, Style::Post];

/// Pushes a blob; the last answer, or the first that is not what it has to be.
pub(crate) fn blob(
    client: &mut Client,
    repository: &str,
    piece: &Piece,
    style: Style,
) -> io::Result<Response> {
    let uploads = format!("/v2/{repository}/blobs/uploads/");
    if let Style::Post = style {
        return client.send("POST", &format!("{uploads}?digest={}", piece.digest), &[], &piece.bytes);
    }
    let begun = client.send("POST", &uploads, &[], b"")?;
    if begun.status != 202 {
        return Ok(begun);
    }
    let mut location = begun.location();
    let bytes = &piece.bytes;
    let rest = match style {
        Style::Stream => {
            let patched = client.send("PATCH", &location, &[], bytes)?;
            if patched.status != 202 {
                return Ok(patched);
            }
            location = patched.location();
            &[]
        }
        Style::Chunks => {
            let third = bytes.len() / 3;
            for chunk in [0..third, third..2 * third] {
                if chunk.is_empty() {
                    continue;
                }
                let range = format!("{}-{}", chunk.start, chunk.end - 1);
                let patched = client.send("PATCH", &location, &[("content-range", &range)], &bytes[chunk])?;
                if patched.status != 202 {
                    return Ok(patched);
                }
                location = patched.location();
            }
            &bytes[2 * third..]
        }
        Style::PostPut | Style::Post => bytes,
    };
    put(client, &location, &piece.digest, rest)
}

/// Finishes a session.
pub(crate) fn put(client: &mut Client, location: &str, digest: &str, rest: &[u8]) -> io::Result<Response> {
    let separator = if location.contains('?') { '&' } else { '?' };
    client.send("PUT", &format!("{location}{separator}digest={digest}"), &[], rest)
}

/// Puts a manifest under a tag or its digest.
pub(crate) fn manifest(
    client: &mut Client,
    repository: &str,
    name: &str,
    manifest: &Piece,
) -> io::Result<Response> {
    let path = format!("/v2/{repository}/manifests/{name}");
    client.send("PUT", &path, &[("content-type", MANIFEST)], &manifest.bytes)
}

/// Mounts a blob from another repository.
pub(crate) fn mount(client: &mut Client, to: &str, digest: &str, from: &str) -> io::Result<Response> {
    client.send("POST", &format!("/v2/{to}/blobs/uploads/?mount={digest}&from={from}"), &[], b"")
}
