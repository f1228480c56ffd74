//! One request and its answer, both small, within one time limit.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::Value;

use crate::base::https_client::{self, Client};

/// One exchange takes no longer.
pub const LIMIT: Duration = Duration::from_secs(5);
/// Largest answer that is read.
pub const ANSWER: usize = 16 * 1024;

/// Why there is no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{0} is no address")]
    Address(String),
    #[error(transparent)]
    Client(#[from] https_client::Error),
    #[error("the answer has status {0}")]
    Status(StatusCode),
    #[error("the answer is no JSON")]
    Json(#[from] serde_json::Error),
    #[error("the answer does not say {0}")]
    Content(&'static str),
    #[error("no answer within {} s", LIMIT.as_secs())]
    Time,
}

/// Sends `body`, if there is one, and returns the body of an answer of success.
pub(super) async fn exchange(
    client: &Client,
    method: Method,
    url: &str,
    token: Option<&str>,
    body: Option<Value>,
) -> Result<Bytes, Error> {
    let mut request = Request::builder().method(method).uri(url);
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(token).map_err(|_| Error::Content("a token that fits a header"))?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let bytes = body.map_or_else(Bytes::new, |body| body.to_string().into());
    let request = request.body(Full::new(bytes)).map_err(|_| Error::Address(url.to_owned()))?;
    let exchange = async {
        let response = client.send(request).await?;
        if !response.status().is_success() {
            return Err(Error::Status(response.status()));
        }
        Ok(response.into_body().read(ANSWER).await?)
    };
    tokio::time::timeout(LIMIT, exchange).await.unwrap_or(Err(Error::Time))
}
