//! The scalars of the schema, and the enum whose values are no items of it.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_graphql::parser::types::Field;
use async_graphql::registry::{MetaEnumValue, MetaType, MetaTypeId, Registry};
use async_graphql::{
    ContextSelectionSet, InputValueError, InputValueResult, OutputType, Positioned, Scalar, ScalarType, ServerResult,
    Value,
};

use crate::base::stamp::Stamp;

/// RFC 3339, with a fraction where there is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time(Stamp);

impl Time {
    pub(super) fn at(wall: SystemTime) -> Self {
        Self(Stamp::at(wall))
    }

    /// Seconds since 1970. A time before that is shown as no time at all: 0001-01-01.
    pub(super) fn unix(seconds: i64) -> Self {
        match u64::try_from(seconds) {
            Ok(seconds) => Self::at(UNIX_EPOCH + Duration::from_secs(seconds)),
            Err(_) => Self::default(),
        }
    }
}

impl Default for Time {
    fn default() -> Self {
        Self(Stamp::ZERO)
    }
}

#[Scalar]
impl ScalarType for Time {
    fn parse(value: Value) -> InputValueResult<Self> {
        Err(InputValueError::expected_type(value))
    }

    fn to_value(&self) -> Value {
        async_graphql::to_value(self.0).unwrap_or_default()
    }
}

/// A number of the wire, which may be larger than `Int` allows. Never an input.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Uint64(pub(super) u64);

#[Scalar]
impl ScalarType for Uint64 {
    fn parse(value: Value) -> InputValueResult<Self> {
        Err(InputValueError::expected_type(value))
    }

    fn to_value(&self) -> Value {
        Value::from(self.0)
    }
}

/// Any JSON.
#[derive(Clone, Debug, Default)]
pub(super) struct Any(pub(super) Value);

impl From<serde_json::Value> for Any {
    fn from(value: serde_json::Value) -> Self {
        Self(Value::from_json(value).unwrap_or_default())
    }
}

#[Scalar]
impl ScalarType for Any {
    fn parse(value: Value) -> InputValueResult<Self> {
        Ok(Self(value))
    }

    fn to_value(&self) -> Value {
        self.0.clone()
    }
}

/// A JSON object.
#[derive(Clone, Debug, Default)]
pub(super) struct Map(pub(super) Value);

#[Scalar]
impl ScalarType for Map {
    fn parse(value: Value) -> InputValueResult<Self> {
        if Self::is_valid(&value) { Ok(Self(value)) } else { Err(InputValueError::expected_type(value)) }
    }

    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::Object(_))
    }

    fn to_value(&self) -> Value {
        self.0.clone()
    }
}

/// What a playout input says of one of its sides. The schema names two items in upper case; what is answered is the
/// word as FFmpeg says it (H34).
#[derive(Clone, Debug, Default)]
pub(super) struct State(pub(super) String);

impl OutputType for State {
    fn type_name() -> Cow<'static, str> {
        Cow::Borrowed("State")
    }

    fn create_type_info(registry: &mut Registry) -> String {
        registry.create_output_type::<Self, _>(MetaTypeId::Enum, |_| MetaType::Enum {
            name: "State".to_owned(),
            description: None,
            enum_values: ["RUNNING", "IDLE"].map(|name| (name.to_owned(), item(name))).into_iter().collect(),
            visible: None,
            inaccessible: false,
            tags: Vec::new(),
            rust_typename: None,
            directive_invocations: Vec::new(),
            requires_scopes: Vec::new(),
        })
    }

    async fn resolve(&self, _: &ContextSelectionSet<'_>, _: &Positioned<Field>) -> ServerResult<Value> {
        Ok(Value::from(self.0.as_str()))
    }
}

fn item(name: &str) -> MetaEnumValue {
    MetaEnumValue {
        name: name.to_owned(),
        description: None,
        deprecation: async_graphql::registry::Deprecation::NoDeprecated,
        visible: None,
        inaccessible: false,
        tags: Vec::new(),
        directive_invocations: Vec::new(),
    }
}
