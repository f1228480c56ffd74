//! `/api/v3/rill/system`: what the root helper does for the box (our own; see README).
//!
//! JSON → `admin::Verb`, checked by the same code as in the helper → one line to its socket. The daemon has no right to do
//! any of it.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::admin::Verb;
use crate::admin::network::{Addressing, Interface, Network, Static};
use crate::admin::verbs::{Hostname, Switch};
use crate::base::admin_client::Error as Fault;
use crate::http::request::JSON_BODY;
use crate::http::{Answer, Context, Error, Request, error, response};

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Reboot,
    PowerOff,
    FactoryReset,
    Hostname,
    Network,
    Ssh,
}

impl Action {
    /// By the last element of the path.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "reboot" => Self::Reboot,
            "poweroff" => Self::PowerOff,
            "factory-reset" => Self::FactoryReset,
            "hostname" => Self::Hostname,
            "network" => Self::Network,
            "ssh" => Self::Ssh,
            _ => return None,
        })
    }
}

/// How what can be changed is now.
pub(crate) async fn get(ctx: &Context, _req: Request) -> Answer {
    let said = ctx.admin.ask(&Verb::Status.to_string()).await.map_err(|fault| refused(&fault))?;
    response::json(&status(&said))
}

pub(crate) async fn act(ctx: &Context, mut req: Request, action: Action) -> Answer {
    let verb = match action {
        Action::Reboot => Verb::Reboot,
        Action::PowerOff => Verb::PowerOff,
        Action::FactoryReset => Verb::FactoryReset,
        Action::Hostname | Action::Network | Action::Ssh => {
            let body: Map<String, Value> = req.json(JSON_BODY).await?;
            read(action, &body).map_err(|text| Error::new(StatusCode::BAD_REQUEST, "Invalid request", [text]))?
        }
    };
    ctx.admin.ask(&verb.to_string()).await.map_err(|fault| refused(&fault))?;
    log::info!(target: "Core", request = verb.to_string(); "The root helper does what was asked");
    response::ok()
}

/// A verb with arguments; what is wrong with them otherwise.
fn read(action: Action, body: &Map<String, Value>) -> Result<Verb, String> {
    let known: &[&str] = match action {
        Action::Hostname => &["name"],
        Action::Ssh => &["enable"],
        _ => &["interface", "dhcp", "address", "gateway", "dns"],
    };
    if let Some(name) = body.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("{name}: unknown member; known are: {}", known.join(", ")));
    }
    match action {
        Action::Hostname => {
            Ok(Verb::Hostname(Hostname::new(text(body, "name")?.unwrap_or("")).map_err(|e| e.to_string())?))
        }
        Action::Ssh => {
            let on = flag(body, "enable")?.ok_or("enable: missing")?;
            Ok(Verb::Ssh(if on { Switch::On } else { Switch::Off }))
        }
        _ => network(body),
    }
}

fn network(body: &Map<String, Value>) -> Result<Verb, String> {
    let interface = Interface::new(text(body, "interface")?.unwrap_or("")).map_err(|e| e.to_string())?;
    let addressing = match (flag(body, "dhcp")?.unwrap_or(false), text(body, "address")?) {
        (true, None) if body.len() == 2 => Addressing::Dhcp,
        (true, _) => return Err("dhcp: expect neither address nor gateway nor dns beside it".to_owned()),
        (false, None) => return Err("address: missing, since dhcp is not true".to_owned()),
        (false, Some(address)) => {
            let dns = match body.get("dns") {
                None | Some(Value::Null) => &[],
                Some(Value::Array(servers)) => &servers[..],
                Some(_) => return Err("dns: expect an array".to_owned()),
            };
            let dns: Option<Vec<&str>> = dns.iter().map(Value::as_str).collect();
            let dns = dns.ok_or("dns: expect strings")?;
            Addressing::Static(Static::new(address, text(body, "gateway")?, dns).map_err(|e| e.to_string())?)
        }
    };
    Ok(Verb::Network(Network { interface, addressing }))
}

fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name}: expect a string")),
    }
}

fn flag(body: &Map<String, Value>, name: &str) -> Result<Option<bool>, String> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(format!("{name}: expect true or false")),
    }
}

/// The helper's words of `name=value`.
fn status(said: &str) -> Value {
    let words = || said.split(' ').filter_map(|word| word.split_once('='));
    let value = |wanted: &str| words().find(|(name, _)| *name == wanted).map(|(_, value)| value);
    let interfaces = words().filter(|(name, _)| *name == "interface").filter_map(|(_, value)| {
        let (name, how) = value.rsplit_once(':')?;
        Some((name.to_owned(), Value::from(how)))
    });
    let ssh = value("ssh").and_then(|ssh| ["on", "off"].contains(&ssh).then_some(ssh == "on"));
    json!({
        "hostname": value("hostname"),
        "network": value("network"),
        "interfaces": interfaces.collect::<Map<String, Value>>(),
        "ssh": ssh,
    })
}

fn refused(fault: &Fault) -> Error {
    let (status, message) = match fault {
        Fault::Absent => (StatusCode::NOT_IMPLEMENTED, "No root helper"),
        Fault::Unreachable { .. } | Fault::Silent | Fault::NoAnswer => {
            (StatusCode::SERVICE_UNAVAILABLE, "The root helper does not answer")
        }
        Fault::Refused(_) => (StatusCode::CONFLICT, "The root helper can't do that"),
    };
    Error::new(status, message, [error::chain(fault)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(action: &str, body: Value, expected: Result<&str, &str>) {
        let action = Action::named(action).expect("known");
        let read = read(action, body.as_object().expect("an object")).map(|verb| verb.to_string());
        match (&read, expected) {
            (Ok(line), Ok(expected)) => assert_eq!(line, expected, "{body}"),
            (Err(text), Err(part)) if text.contains(part) => {}
            _ => panic!("{body}: {read:?}, not {expected:?}"),
        }
    }

    #[test]
    fn bodies() {
        check("hostname", json!({"name": "camera-1"}), Ok("hostname camera-1"));
        for name in [json!(null), json!("a b"), json!("x\nreboot")] {
            check("hostname", json!({"name": name}), Err("is no name for a box"));
        }
        check("hostname", json!({"name": 1}), Err("name: expect a string"));
        check("hostname", json!({"hostname": "a"}), Err("hostname: unknown member; known are: name"));
        check("ssh", json!({"enable": true}), Ok("ssh on"));
        check("ssh", json!({"enable": false}), Ok("ssh off"));
        check("ssh", json!({}), Err("enable: missing"));
        check("ssh", json!({"enable": "on"}), Err("enable: expect true or false"));
        check("network", json!({"interface": "eth0", "dhcp": true}), Ok("network eth0 dhcp"));
        let fixed = json!({"interface": "eth0", "address": "10.0.0.2/8", "gateway": "10.0.0.1", "dns": ["10.0.0.1"]});
        check("network", fixed, Ok("network eth0 static 10.0.0.2/8 gateway 10.0.0.1 dns 10.0.0.1"));
        let least = json!({"interface": "eth0", "dhcp": false, "address": "10.0.0.2/8", "gateway": null, "dns": []});
        check("network", least, Ok("network eth0 static 10.0.0.2/8"));
        check("network", json!({"interface": "eth0"}), Err("address: missing"));
        check("network", json!({"interface": "eth0", "dhcp": true, "address": "10.0.0.2/8"}), Err("beside it"));
        check("network", json!({"interface": "eth0", "dhcp": true, "dns": ["10.0.0.1"]}), Err("beside it"));
        check("network", json!({"dhcp": true}), Err("no name of a network interface"));
        let evil = json!({"interface": "eth0", "address": "10.0.0.2/8 dns 6.6.6.6"});
        check("network", evil, Err("no address with the length"));
        check(
            "network",
            json!({"interface": "eth0", "address": "10.0.0.2/8", "dns": "1.1.1.1"}),
            Err("expect an array"),
        );
        check("network", json!({"interface": "eth0", "address": "10.0.0.2/8", "dns": [1]}), Err("expect strings"));
    }

    #[test]
    fn states() {
        let said = "hostname=box network=networkd ssh=off interface=eth0:static interface=eth0.5:dhcp";
        let interfaces = json!({"eth0": "static", "eth0.5": "dhcp"});
        let expected = json!({"hostname": "box", "network": "networkd", "interfaces": interfaces, "ssh": false});
        assert_eq!(status(said), expected);
        assert_eq!(status("ssh=none")["ssh"], Value::Null);
        assert_eq!(status(""), json!({"hostname": null, "network": null, "interfaces": {}, "ssh": null}));
    }
}
