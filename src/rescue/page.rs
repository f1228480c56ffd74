//! The page and its JSON: what is told, to whom. No scripts, nothing from elsewhere.

use serde_json::{Value, json};

use super::cause::Cause;
use super::login::Session;
use super::server::request::{BASE, Wish};

/// What everyone in the network may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) cause: Cause,
    /// Seconds until the daemon is tried again.
    pub(super) retry_seconds: u64,
    /// There is a login to be asked for.
    pub(super) has_login: bool,
}

/// What is told after login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Details {
    pub(super) errors: Vec<String>,
    pub(super) journal: Vec<String>,
    /// What rescue has done by itself.
    pub(super) done: Vec<String>,
}

/// The answer to a request, before it has a medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) json: bool,
    pub(super) body: String,
    pub(super) cookie: Option<String>,
}

/// `server::POLICY` names its hash.
pub(super) const STYLE: &str = "body{font:1rem/1.5 sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222}\
    pre{background:#eee;padding:.5rem;overflow:auto;white-space:pre-wrap}form{display:inline-block;margin:.2rem .4rem .2rem 0}\
    .note{border-left:.3rem solid #06c;padding-left:.6rem}";

/// State, and details for who is logged in, as a page. `note`: what became of the last wish.
pub(super) fn html(state: &State, session: Option<(&Session, &Details)>, note: Option<&str>) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Rill: rescue</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\n\
         <h1>Rill does not run</h1>\n<p id=\"cause\" data-cause=\"{}\">{} (<b>{}</b>)</p>\n\
         <p id=\"retry\">It is tried again in {}.</p>\n",
        state.cause.name(),
        state.cause.sentence(),
        state.cause.name(),
        duration(state.retry_seconds),
    );
    if let Some(note) = note {
        page += &format!("<p class=\"note\" id=\"note\">{}</p>\n", escape(note));
    }
    match session {
        Some((session, details)) => page += &inside(session, details),
        None if state.has_login => page += &login_form(),
        None => {
            page += "<p>No login is configured, so that nothing can be changed here.</p>\n";
            page += &button("retry", "Try it now", "");
        }
    }
    page + "</body></html>\n"
}

fn login_form() -> String {
    format!(
        "<form method=\"post\" action=\"{BASE}/login\" id=\"login\">\
         <label>Name <input name=\"username\" autocomplete=\"username\" required></label> \
         <label>Password <input name=\"password\" type=\"password\" autocomplete=\"current-password\" required></label> \
         <button>Log in</button></form>\n"
    )
}

fn inside(session: &Session, details: &Details) -> String {
    let mut page = String::new();
    for text in &details.done {
        page += &format!("<p class=\"note\">{}</p>\n", escape(text));
    }
    page += &format!("<h2>Errors</h2>\n<pre id=\"errors\">{}</pre>\n", escape(&details.errors.join("\n")));
    page += "<h2>What can be done</h2>\n";
    for (path, text) in [
        ("retry", "Try it now"),
        ("check", "Check the settings"),
        ("restore", "Restore the previous settings"),
        ("reset", "Factory reset (all is kept aside)"),
        ("reboot", "Reboot"),
        ("logout", "Log out"),
    ] {
        page += &button(path, text, &session.form);
    }
    page += &format!("<h2>Journal</h2>\n<pre id=\"journal\">{}</pre>\n", escape(&details.journal.join("\n")));
    page
}

fn button(path: &str, text: &str, form: &str) -> String {
    format!(
        "<form method=\"post\" action=\"{BASE}/{path}\" id=\"{path}\"><input type=\"hidden\" name=\"form\" \
         value=\"{}\"><button>{text}</button></form>\n",
        escape(form)
    )
}

/// What is shown while the daemon starts; it leads back to it.
pub(super) fn leaving(note: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Rill: rescue</title>\
         <meta http-equiv=\"refresh\" content=\"5; url=/\"><style>{STYLE}</style></head><body>\n\
         <h1>Rill is started</h1>\n<p class=\"note\" id=\"note\">{}</p></body></html>\n",
        escape(note)
    )
}

/// The same for programs.
pub(super) fn json(state: &State, details: Option<&Details>, note: Option<&str>) -> Value {
    let mut value = json!({
        "state": "rescue",
        "cause": state.cause.name(),
        "message": state.cause.sentence(),
        "retry_seconds": state.retry_seconds,
        "login": state.has_login,
    });
    if let Some(note) = note {
        value["note"] = note.into();
    }
    if let Some(details) = details {
        value["errors"] = details.errors.clone().into();
        value["journal"] = details.journal.clone().into();
        value["done"] = details.done.clone().into();
    }
    value
}

/// An error in the shape of the daemon's API.
pub(super) fn error(status: u16, wish: Wish, text: &str, state: &State) -> Value {
    let message = match status {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        413 => "Payload Too Large",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Bad Request",
    };
    let text =
        if wish == Wish::Daemon { format!("rill does not run: {}", state.cause.name()) } else { text.to_owned() };
    json!({"code": status, "message": message, "details": [text]})
}

fn duration(seconds: u64) -> String {
    if seconds < 90 { format!("{seconds} seconds") } else { format!("{} minutes", seconds.div_ceil(60)) }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::rescue::login::Sessions;

    fn state(has_login: bool) -> State {
        State { cause: Cause::Config, retry_seconds: 120, has_login }
    }

    #[test]
    fn a_stranger_sees_state_and_class_only() {
        let page = html(&state(true), None, None);
        assert!(page.contains("data-cause=\"config\"") && page.contains("2 minutes") && page.contains("password"));
        assert!(!page.contains("Journal") && !page.contains("/reset"));
        let page = html(&state(false), None, None);
        assert!(page.contains("/retry") && !page.contains("password") && !page.contains("/restore"));
        assert_eq!(json(&state(true), None, None).get("errors"), None);
    }

    #[test]
    fn texts_stay_texts() {
        let mut entropy = [1; 32];
        entropy[31] = 2;
        let session = Sessions::default().open(Instant::now(), entropy);
        let details = Details {
            errors: vec!["<script>alert('x')</script>".into()],
            journal: vec!["\u{1b}[31m</pre>\" onload=".into()],
            done: vec!["<b>".into()],
        };
        let page = html(&state(true), Some((&session, &details)), Some("<i>"));
        for bad in ["<script", "</pre>\" onload", "<i>", "\u{1b}"] {
            assert!(!page.contains(bad), "{bad} in {page}");
        }
        assert!(page.contains(&session.form) && !page.contains(&session.token));
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"));
    }

    #[test]
    fn other_paths_say_that_the_daemon_does_not_run() {
        let value = error(503, Wish::Daemon, "", &state(true));
        assert_eq!(value["details"][0], "rill does not run: config");
    }
}
