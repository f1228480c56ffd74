//! Reads JSON that others wrote, leniently, and says where it is not what it should be.
//!
//! A number may stand as text and the other way round; absence and `null` are the default. Everything else is a `Fault`
//! that names the member.

use serde_json::Value;

/// A member of the wrong type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: expected {expected}, found {found}")]
pub struct Fault {
    path: String,
    expected: &'static str,
    found: &'static str,
}

/// A place in a document; what is not there is `null`.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Place<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self { path: String::new(), value }
    }

    /// The member `key`.
    pub(super) fn at(&self, key: &str) -> Result<Self, Fault> {
        let value = match self.value {
            Value::Object(members) => members.get(key).unwrap_or(&Value::Null),
            Value::Null => &Value::Null,
            _ => return Err(self.fault("an object")),
        };
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Ok(Self { path, value })
    }

    pub(super) fn is_absent(&self) -> bool {
        self.value.is_null()
    }

    /// Text, trimmed; blank text is the default too.
    pub(super) fn text(&self, default: &str) -> Result<String, Fault> {
        let text = match self.value {
            Value::Null => String::new(),
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => return Err(self.fault("text")),
        };
        Ok(if text.is_empty() { default.to_owned() } else { text })
    }

    pub(super) fn flag(&self, default: bool) -> Result<bool, Fault> {
        match self.value {
            Value::Null => Ok(default),
            Value::Bool(flag) => Ok(*flag),
            Value::String(text) => text.trim().parse().map_err(|_| self.fault("true or false")),
            _ => Err(self.fault("true or false")),
        }
    }

    /// A whole number, 0 or more.
    pub(super) fn number(&self, default: u64) -> Result<u64, Fault> {
        match self.value {
            Value::Null => Ok(default),
            Value::Number(number) => number.as_u64().ok_or_else(|| self.fault("a whole number, 0 or more")),
            Value::String(text) => text.trim().parse().map_err(|_| self.fault("a whole number, 0 or more")),
            _ => Err(self.fault("a whole number, 0 or more")),
        }
    }

    pub(super) fn items(&self) -> Result<Vec<Self>, Fault> {
        match self.value {
            Value::Null => Ok(Vec::new()),
            Value::Array(items) => {
                let place = |(index, value)| Self { path: format!("{}[{index}]", self.path), value };
                Ok(items.iter().enumerate().map(place).collect())
            }
            _ => Err(self.fault("a list")),
        }
    }

    fn fault(&self, expected: &'static str) -> Fault {
        let found = match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        let path = if self.path.is_empty() { "the document".to_owned() } else { self.path.clone() };
        Fault { path, expected, found }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_read_leniently_and_faults_name_them() {
        let document = json!({"a": {"text": 5, "flag": "true", "number": "7", "list": [1, {"x": []}]}});
        let a = Place::root(&document).at("a").unwrap();
        assert_eq!(a.at("text").unwrap().text("").unwrap(), "5");
        assert!(a.at("flag").unwrap().flag(false).unwrap());
        assert_eq!(a.at("number").unwrap().number(0).unwrap(), 7);
        assert_eq!(a.at("none").unwrap().at("deeper").unwrap().text("default").unwrap(), "default");
        let list = a.at("list").unwrap().items().unwrap();
        let fault = list[1].at("x").unwrap().text("").unwrap_err();
        assert_eq!(fault.to_string(), "a.list[1].x: expected text, found a list");
        assert_eq!(list[0].at("x").unwrap_err().to_string(), "a.list[0]: expected an object, found a number");
        assert_eq!(
            Place::root(&json!([])).at("x").unwrap_err().to_string(),
            "the document: expected an object, found a list"
        );
    }
}
