//! The schema as text (`schema.graphql`) → the registry that queries are checked against and introspection reads.
//!
//! There is no Rust type behind its types: derived ones cost a megabyte of code. `query` answers the root fields with
//! whole values, `select` takes from them what is asked for.

use std::sync::Arc;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    FieldDefinition, InputValueDefinition, TypeDefinition, TypeKind, TypeSystemDefinition,
};
use async_graphql::registry::{Deprecation, MetaEnumValue, MetaField, MetaInputValue, MetaType, Registry};
use async_graphql::{CacheControl, Context, Positioned, Value};

const TEXT: &str = include_str!("schema.graphql");
/// The argument that makes introspection find `Command`, which nothing uses.
const UNUSED: &str = "unused";

/// Puts all types into the registry that are not there yet.
pub(super) fn register(registry: &mut Registry) {
    let document = parse_schema(TEXT).expect("a text that never changes, parsed by tests");
    let types: Vec<TypeDefinition> = document
        .definitions
        .into_iter()
        .filter_map(|definition| match definition {
            TypeSystemDefinition::Type(definition) => Some(definition.node),
            TypeSystemDefinition::Schema(_) | TypeSystemDefinition::Directive(_) => None,
        })
        .collect();
    for definition in &types {
        if let TypeKind::Object(object) = &definition.kind {
            for interface in &object.implements {
                registry.add_implements(&definition.name.node, &interface.node);
            }
        }
    }
    for definition in types {
        let name = definition.name.node.to_string();
        if let Some(kind) = meta_type(&name, definition.kind, registry) {
            registry.types.entry(name).or_insert(kind);
        }
    }
}

/// `None` for kinds that the schema does not have.
fn meta_type(name: &str, kind: TypeKind, registry: &Registry) -> Option<MetaType> {
    let name = name.to_owned();
    Some(match kind {
        TypeKind::Scalar => scalar(name),
        TypeKind::Object(object) => MetaType::Object {
            name,
            description: None,
            fields: object.fields.into_iter().map(field).collect(),
            cache_control: CacheControl::default(),
            extends: false,
            shareable: false,
            resolvable: true,
            keys: None,
            visible: None,
            inaccessible: false,
            interface_object: false,
            tags: Vec::new(),
            is_subscription: false,
            rust_typename: None,
            directive_invocations: Vec::new(),
            requires_scopes: Vec::new(),
        },
        TypeKind::Interface(interface) => MetaType::Interface {
            possible_types: registry
                .implements
                .iter()
                .filter(|(_, interfaces)| interfaces.contains(&name))
                .map(|(object, _)| object.clone())
                .collect(),
            name,
            description: None,
            fields: interface.fields.into_iter().map(field).collect(),
            extends: false,
            keys: None,
            visible: None,
            inaccessible: false,
            tags: Vec::new(),
            rust_typename: None,
            directive_invocations: Vec::new(),
            requires_scopes: Vec::new(),
        },
        TypeKind::Enum(items) => MetaType::Enum {
            name,
            description: None,
            enum_values: items.values.into_iter().map(|item| enum_value(&item.node.value.node)).collect(),
            visible: None,
            inaccessible: false,
            tags: Vec::new(),
            rust_typename: None,
            directive_invocations: Vec::new(),
            requires_scopes: Vec::new(),
        },
        TypeKind::InputObject(object) => MetaType::InputObject {
            name,
            description: None,
            input_fields: object.fields.into_iter().map(input).collect(),
            visible: None,
            inaccessible: false,
            tags: Vec::new(),
            rust_typename: None,
            oneof: false,
            directive_invocations: Vec::new(),
        },
        TypeKind::Union(_) => return None,
    })
}

/// Only `Map` is ever sent by clients.
fn scalar(name: String) -> MetaType {
    MetaType::Scalar {
        name,
        description: None,
        is_valid: Some(Arc::new(|value: &Value| matches!(value, Value::Object(_)))),
        visible: None,
        inaccessible: false,
        tags: Vec::new(),
        specified_by_url: None,
        directive_invocations: Vec::new(),
        requires_scopes: Vec::new(),
    }
}

fn field(definition: Positioned<FieldDefinition>) -> (String, MetaField) {
    let definition = definition.node;
    let name = definition.name.node.to_string();
    let field = MetaField {
        name: name.clone(),
        description: None,
        args: definition.arguments.into_iter().map(input).collect(),
        ty: definition.ty.node.to_string(),
        deprecation: Deprecation::NoDeprecated,
        cache_control: CacheControl::default(),
        external: false,
        requires: None,
        provides: None,
        visible: None,
        shareable: false,
        inaccessible: false,
        tags: Vec::new(),
        override_from: None,
        compute_complexity: None,
        directive_invocations: Vec::new(),
        requires_scopes: Vec::new(),
    };
    (name, field)
}

fn input(definition: Positioned<InputValueDefinition>) -> (String, MetaInputValue) {
    let definition = definition.node;
    let name = definition.name.node.to_string();
    let input = MetaInputValue {
        visible: if name == UNUSED { Some(is_search) } else { None },
        name: name.clone(),
        description: None,
        ty: definition.ty.node.to_string(),
        deprecation: Deprecation::NoDeprecated,
        default_value: None,
        inaccessible: false,
        tags: Vec::new(),
        is_secret: false,
        directive_invocations: Vec::new(),
    };
    (name, input)
}

fn enum_value(name: &str) -> (String, MetaEnumValue) {
    let value = MetaEnumValue {
        name: name.to_owned(),
        description: None,
        deprecation: Deprecation::NoDeprecated,
        visible: None,
        inaccessible: false,
        tags: Vec::new(),
        directive_invocations: Vec::new(),
    };
    (name.to_owned(), value)
}

/// Whether introspection looks for types now, which it does at the root; whoever lists arguments is below it.
fn is_search(ctx: &Context<'_>) -> bool {
    ctx.path_node.is_none_or(|node| node.parent.is_none())
}
