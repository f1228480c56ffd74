//! One order with a certificate authority (RFC 8555): account, order, http-01, certificate. Every step is bounded.
//!
//! `instant_acme` speaks the protocol; its requests go through the daemon's own client, over a channel, since that
//! client stays on the one thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, HttpClient,
    Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use tokio::sync::{mpsc, oneshot};

use super::acme::Failure;
use crate::base::https_client::{self, Client};
use crate::base::task;

/// One order may take this long (`contract/config.md` §6).
pub(super) const ORDER_TIME: Duration = Duration::from_secs(300);
/// Largest answer of an authority that is read.
const ANSWER: usize = 256 * 1024;
/// Requests under way; an order sends one after the other.
const REQUESTS: usize = 4;
/// How an order is looked at until it is ready.
const POLLING: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).backoff(1.5).timeout(Duration::from_secs(90));

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the certificate authority says no")]
    Refused(#[source] instant_acme::Error),
    #[error("the certificate authority can't be used")]
    Unreachable(#[source] instant_acme::Error),
    #[error("the certificate authority offers no http-01")]
    NoChallenge,
    #[error("the certificate authority has not confirmed the name ({0:?})")]
    NotReady(OrderStatus),
    #[error("no certificate within {} s", ORDER_TIME.as_secs())]
    Time,
}

impl Error {
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Refused(_) | Self::NoChallenge | Self::NotReady(_) => Failure::Refused,
            Self::Unreachable(_) | Self::Time => Failure::Unreachable,
        }
    }
}

impl Error {
    /// Whether the authority has forgotten the account (RFC 8555 §6.7).
    pub(super) fn is_unknown_account(&self) -> bool {
        let Self::Refused(instant_acme::Error::Api(problem)) = self else { return false };
        problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist")
    }
}

impl From<instant_acme::Error> for Error {
    fn from(error: instant_acme::Error) -> Self {
        match error {
            instant_acme::Error::Api(_) => Self::Refused(error),
            _ => Self::Unreachable(error),
        }
    }
}

/// Answers that the authority looks for on the plain listener, by token. As many as orders under way.
#[derive(Clone, Default)]
pub(super) struct Challenges(Rc<RefCell<BTreeMap<String, String>>>);

impl Challenges {
    pub(super) fn answer(&self, token: &str) -> Option<String> {
        self.0.borrow().get(token).cloned()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    fn show(&self, token: &str, answer: &str) -> Shown {
        self.0.borrow_mut().insert(token.to_owned(), answer.to_owned());
        Shown { challenges: self.clone(), token: token.to_owned() }
    }
}

/// Taken back when dropped.
struct Shown {
    challenges: Challenges,
    token: String,
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.challenges.0.borrow_mut().remove(&self.token);
    }
}

/// A key and the chain for it, both PEM.
pub(super) struct Issued {
    pub(super) key: String,
    pub(super) chain: String,
}

/// An account with the authority at `directory`, made unless there are `credentials`.
pub(super) async fn account(
    client: &Client,
    directory: &str,
    email: &str,
    credentials: Option<AccountCredentials>,
) -> Result<(Account, Option<AccountCredentials>), Error> {
    let builder = Account::builder_with_http(Box::new(Bridge::open(client.clone())));
    if let Some(credentials) = credentials {
        return Ok((within(builder.from_credentials(credentials)).await?, None));
    }
    let contact = format!("mailto:{email}");
    let contact = [contact.as_str()];
    let account = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) = within(builder.create(&account, directory.to_owned(), None)).await?;
    Ok((account, Some(credentials)))
}

/// A certificate for `host` from the authority of `account`.
pub(super) async fn obtain(account: &Account, host: &str, challenges: &Challenges) -> Result<Issued, Error> {
    match tokio::time::timeout(ORDER_TIME, order(account, host, challenges)).await {
        Ok(result) => result,
        Err(_) => Err(Error::Time),
    }
}

async fn within<T>(work: impl Future<Output = Result<T, instant_acme::Error>>) -> Result<T, Error> {
    Ok(tokio::time::timeout(ORDER_TIME, work).await.map_err(|_| Error::Time)??)
}

async fn order(account: &Account, host: &str, challenges: &Challenges) -> Result<Issued, Error> {
    let identifiers = [Identifier::Dns(host.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    let mut shown = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let mut challenge = authorization.challenge(ChallengeType::Http01).ok_or(Error::NoChallenge)?;
        shown.push(challenges.show(&challenge.token, challenge.key_authorization().as_str()));
        challenge.set_ready().await?;
    }
    match order.poll_ready(&POLLING).await? {
        OrderStatus::Ready => {}
        status => return Err(Error::NotReady(status)),
    }
    drop(shown);
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&POLLING).await?;
    Ok(Issued { key, chain })
}

type Request = http::Request<BodyWrapper<Bytes>>;
type Answer = Result<BytesResponse, instant_acme::Error>;

/// Carries requests to a task that owns the client, which may not leave its thread.
struct Bridge(mpsc::Sender<(Request, oneshot::Sender<Answer>)>);

impl Bridge {
    fn open(client: Client) -> Self {
        let (requests, mut waiting) = mpsc::channel::<(Request, oneshot::Sender<Answer>)>(REQUESTS);
        task::spawn(async move {
            while let Some((request, reply)) = waiting.recv().await {
                // Nobody waits any more if this fails.
                let _ = reply.send(send(&client, request).await.map_err(other));
            }
        });
        Self(requests)
    }
}

impl HttpClient for Bridge {
    fn request(&self, request: Request) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let requests = self.0.clone();
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            requests.send((request, reply)).await.map_err(|_| other(std::io::Error::other("the client has ended")))?;
            answer.await.map_err(other)?
        })
    }
}

async fn send(client: &Client, request: Request) -> Result<BytesResponse, https_client::Error> {
    let (parts, body) = client.send(request).await?.into_parts();
    let body = Full::new(body.read(ANSWER).await?);
    Ok(http::Response::from_parts(parts, body).into())
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> instant_acme::Error {
    instant_acme::Error::Other(Box::new(error))
}
