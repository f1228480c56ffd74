//! A whole value → what a query selects of it. Pure.
//!
//! Selections, fragments and `__typename` follow the types of the schema; `skip` and `include` are gone by then, and
//! validation has ruled out what does not exist. A JSON scalar is taken as it is.

use std::collections::HashMap;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{FragmentDefinition, Selection, SelectionSet};
use async_graphql::registry::{MetaType, MetaTypeName, Registry};
use async_graphql::{Name, Positioned, Value};

/// What the selections of one request refer to.
pub(super) struct Select<'a> {
    pub(super) registry: &'a Registry,
    pub(super) fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
}

type Members = IndexMap<Name, Value>;

impl Select<'_> {
    /// What `set` selects of `value`, which has the type `kind` (`[Process!]!`).
    pub(super) fn of(&self, kind: &str, value: Value, set: &SelectionSet) -> Value {
        let kind = MetaTypeName::concrete_typename(kind);
        match self.registry.types.get(kind) {
            Some(MetaType::Object { .. }) => self.of_object(kind, &value, set),
            _ => value,
        }
    }

    fn of_object(&self, kind: &str, value: &Value, set: &SelectionSet) -> Value {
        match value {
            Value::List(items) => Value::List(items.iter().map(|item| self.of_object(kind, item, set)).collect()),
            Value::Object(members) => {
                let mut selected = Members::new();
                self.add(&mut selected, kind, members, set);
                Value::Object(selected)
            }
            _ => Value::Null,
        }
    }

    fn add(&self, selected: &mut Members, kind: &str, members: &Members, set: &SelectionSet) {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    let field = &field.node;
                    let value = self.member(kind, members, &field.name.node, &field.selection_set.node);
                    merge(selected, field.response_key().node.clone(), value);
                }
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.node.type_condition.as_ref();
                    if condition.is_none_or(|condition| self.is(kind, &condition.node.on.node)) {
                        self.add(selected, kind, members, &fragment.node.selection_set.node);
                    }
                }
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) = self.fragments.get(&spread.node.fragment_name.node)
                        && self.is(kind, &fragment.node.type_condition.node.on.node)
                    {
                        self.add(selected, kind, members, &fragment.node.selection_set.node);
                    }
                }
            }
        }
    }

    fn member(&self, kind: &str, members: &Members, name: &Name, set: &SelectionSet) -> Value {
        if *name == "__typename" {
            return Value::from(kind);
        }
        let Some(value) = members.get(name) else { return Value::Null };
        let field = self.registry.types.get(kind).and_then(|kind| kind.field_by_name(name));
        let kind = field.map_or("", |field| MetaTypeName::concrete_typename(&field.ty));
        match self.registry.types.get(kind) {
            Some(MetaType::Object { .. }) => self.of_object(kind, value, set),
            _ => value.clone(),
        }
    }

    /// Whether the object type `kind` is, or implements, `other`.
    fn is(&self, kind: &str, other: &str) -> bool {
        kind == other || self.registry.implements.get(kind).is_some_and(|interfaces| interfaces.contains(other))
    }
}

/// The same field selected twice is one field with the selections of both.
fn merge(selected: &mut Members, key: Name, value: Value) {
    match selected.get_mut(&key) {
        Some(before) => unite(before, value),
        None => drop(selected.insert(key, value)),
    }
}

fn unite(before: &mut Value, value: Value) {
    match (before, value) {
        (Value::Object(before), Value::Object(members)) => {
            members.into_iter().for_each(|(key, value)| merge(before, key, value));
        }
        (Value::List(before), Value::List(items)) => {
            before.iter_mut().zip(items).for_each(|(before, item)| unite(before, item));
        }
        _ => {}
    }
}
