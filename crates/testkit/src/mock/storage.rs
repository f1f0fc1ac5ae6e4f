//! The object storage behind presigned URLs: another origin, which takes the URL as the proof and refuses any other.

use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use pier_oci::Digest;
use pier_oci::wire::Query;

use super::front::{boxed, empty, text};
use super::{Body, Presigned, State, Violation};

/// The parameter that a URL is known by.
const SIGNATURE: &str = "X-Amz-Signature";

impl State {
    /// Where a blob is to be had for a while.
    pub(super) fn presign(&self, storage: std::net::SocketAddr, repository: &str, digest: Digest) -> String {
        let mut record = self.record();
        record.signatures += 1;
        let signature = format!("{:016x}", record.signatures + 0x00c0_ffee);
        let url = format!(
            "http://{storage}/bucket/{repository}/{}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=3600&{SIGNATURE}={signature}",
            digest.to_string().replace(':', "/")
        );
        let left = self.manners.url_requests;
        record.presigned.insert(signature, Presigned { repository: repository.to_owned(), digest, left });
        url
    }

    /// What a signature is good for, once more.
    fn redeem(&self, signature: &str) -> Option<(String, Digest)> {
        let mut record = self.record();
        let presigned = record.presigned.get_mut(signature)?;
        presigned.left = presigned.left.checked_sub(1)?;
        Some((presigned.repository.clone(), presigned.digest))
    }

    /// Answers as an object storage does.
    pub(super) async fn storage(&self, request: Request<Incoming>) -> Response<Body> {
        if request.headers().contains_key(header::AUTHORIZATION) {
            self.record().violations.push(Violation::CredentialsToStorage);
            return refuse(StatusCode::BAD_REQUEST, "InvalidArgument", "Only one auth mechanism allowed");
        }
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let signature = query.first(SIGNATURE).unwrap_or_default();
        let Some((repository, digest)) = self.redeem(signature) else {
            return refuse(StatusCode::FORBIDDEN, "AccessDenied", "Request has expired");
        };
        let (mut parts, _) = request.into_parts();
        // Names and digests need no encoding.
        parts.uri = format!("/v2/{repository}/blobs/{digest}").parse().unwrap_or_default();
        let mut answer = boxed(self.registry.registry().handle(Request::from_parts(parts, empty())).await);
        // It knows nothing of registries.
        answer.headers_mut().remove("docker-content-digest");
        answer
    }
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    text(status, "application/xml", xml)
}
