//! `/api/login` and its refresh (`contract/http-api.md` §5.3, §5.4).
//!
//! A failure waits before it is answered and uses up the budget of its address; who has none left is not heard.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::auth::jwt::Use;
use crate::auth::stored::Stored;
use crate::auth::{Principal, auth0, login};
use crate::base::blocking::Lane;
use crate::base::clock::Now;
use crate::base::error::chain;
use crate::http::auth::bearers;
use crate::http::request::LOGIN_BODY;
use crate::http::{Answer, Context, Error, Request, response};
use crate::sys;

#[derive(Deserialize)]
struct Credentials {
    username: String,
    password: String,
}

#[derive(Serialize)]
struct Tokens {
    access_token: String,
    refresh_token: String,
}

#[derive(Serialize)]
struct Refreshed {
    access_token: String,
}

pub(crate) async fn login(ctx: &Context, mut req: Request) -> Answer {
    let address = req.client.unwrap_or(req.peer);
    if !ctx.auth.failures.borrow().admits(Now::read().mono, address) {
        let text = format!("too many failed logins from {address}; try again later");
        return Err(Error::new(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests", [text]));
    }
    let error = match identify(ctx, &mut req).await {
        Ok(name) => {
            let now = Now::read();
            let issue = |usage| ctx.auth.issuer.issue(now, &name, usage, sys::entropy());
            return response::json(&Tokens { access_token: issue(Use::Access), refresh_token: issue(Use::Refresh) });
        }
        Err(error) if error.status == StatusCode::PAYLOAD_TOO_LARGE => return Err(error),
        Err(error) => error,
    };
    if ctx.auth.failures.borrow_mut().note(Now::read().mono, address) {
        let _pending = Pending(ctx);
        tokio::time::sleep(login::FAILURE_DELAY).await;
    }
    Err(error)
}

pub(crate) async fn refresh(ctx: &Context, _: Request, principal: &Principal) -> Answer {
    let Principal::User { name } = principal else {
        return Err(Error::new(StatusCode::FORBIDDEN, "Forbidden", ["Invalid token".to_owned()]));
    };
    let access_token = ctx.auth.issuer.issue(Now::read(), name, Use::Access, sys::entropy());
    response::json(&Refreshed { access_token })
}

/// Gives the place back, also when the client leaves while it waits.
struct Pending<'a>(&'a Context);

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.auth.failures.borrow_mut().waited();
    }
}

/// The name of who logs in, by password or by the token of a tenant.
async fn identify(ctx: &Context, req: &mut Request) -> Result<String, Error> {
    if let Some((tenant, token)) =
        bearers(&req.headers).find_map(|token| Some((auth0::tenant_of(ctx.auth.tenants(), token)?, token)))
    {
        let verified = ctx.auth.keys.with(&tenant.domain, |keys| auth0::verify(Now::read(), tenant, keys, token));
        return verified.map_err(|error| unauthorized(&chain(&error)));
    }
    let credentials: Credentials = match req.json(LOGIN_BODY).await {
        Ok(credentials) => credentials,
        Err(error) if error.status == StatusCode::PAYLOAD_TOO_LARGE => return Err(error),
        Err(_) => return Err(missing()),
    };
    if credentials.username.is_empty() || credentials.password.is_empty() {
        return Err(missing());
    }
    match knows(ctx, &credentials).await {
        true => Ok(credentials.username),
        false => Err(unauthorized("invalid username or password")),
    }
}

async fn knows(ctx: &Context, given: &Credentials) -> bool {
    let Some(stored) = &ctx.auth.stored else { return ctx.auth.knows(&given.username, &given.password) };
    let (stored, name, word) = (Stored::clone(stored), given.username.clone(), given.password.clone());
    ctx.blocking.run(Lane::General, move || stored.verify(&name, &word)).await
}

fn missing() -> Error {
    Error::new(StatusCode::BAD_REQUEST, "Bad Request", ["Missing authorization credentials".to_owned()])
}

fn unauthorized(reason: &str) -> Error {
    let text = format!("Invalid authorization credentials: {reason}");
    Error::new(StatusCode::UNAUTHORIZED, "Unauthorized", [text])
}
