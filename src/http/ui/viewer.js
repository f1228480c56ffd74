// Shows doc.json, the description beside it, and sends what its forms say. Needs no library and speaks to no other host.
'use strict';
let token = '';
let doc;

// An element with its children; texts are never read as HTML.
function el(name, attributes, ...children) {
  const element = Object.assign(document.createElement(name), attributes);
  element.append(...children);
  return element;
}

const named = (ref) => ref.split('/').pop();

// A type in one line.
function brief(schema) {
  if (!schema) return '';
  if (schema.$ref) return named(schema.$ref);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  if (schema.type === 'array') return '[' + brief(schema.items) + ']';
  if (schema.type === 'object' && schema.additionalProperties) return '{' + brief(schema.additionalProperties) + '}';
  return (schema.type || 'any') + (schema['x-nullable'] ? ' | null' : '');
}

// The objects that a type leads to, each once.
function objects(schema, found = new Map()) {
  if (!schema || typeof schema !== 'object') return found;
  if (schema.$ref && schema.$ref.startsWith('#/definitions/')) {
    const name = named(schema.$ref);
    if (!found.has(name)) {
      found.set(name, doc.definitions[name]);
      objects(doc.definitions[name], found);
    }
    return found;
  }
  objects(schema.items, found);
  objects(schema.additionalProperties, found);
  for (const member of Object.values(schema.properties || {})) objects(member, found);
  return found;
}

function shape(name, object) {
  const rows = Object.entries(object.properties || {}).map(([key, member]) => {
    const optional = (object.required || []).includes(key) ? '' : '?';
    return el('tr', {}, el('td', {}, el('code', {}, key + optional)), el('td', {}, el('code', {}, brief(member))),
      el('td', {}, member.description || ''));
  });
  return el('div', {}, el('p', {}, el('b', {}, name), ' ', object.description || ''), el('table', {}, ...rows));
}

// A value to begin with, from required members only.
function example(schema, depth = 0) {
  if (schema.$ref) schema = doc.definitions[named(schema.$ref)];
  if (schema.enum) return schema.enum[schema.enum.length - 1];
  if (schema.type === 'array') return depth < 4 ? [example(schema.items || {}, depth + 1)] : [];
  if (schema.type === 'object') {
    const keys = schema.required || Object.keys(schema.properties || {}).slice(0, 2);
    return Object.fromEntries(keys.map((key) => [key, example(schema.properties[key], depth + 1)]));
  }
  return { string: '', integer: 0, number: 0, boolean: false }[schema.type] ?? null;
}

async function send(path, method, operation, form, output) {
  let url = path;
  const query = new URLSearchParams();
  const headers = token ? { Authorization: 'Bearer ' + token } : {};
  let body;
  for (const parameter of operation.parameters || []) {
    const value = form.elements[parameter.in + ':' + parameter.name].value;
    if (parameter.in === 'path') url = url.replace('{' + parameter.name + '}', encodeURIComponent(value));
    else if (parameter.in === 'query' && value) query.set(parameter.name, value);
    else if (parameter.in === 'header' && value) headers[parameter.name] = value;
    else if (parameter.in === 'body') {
      body = value;
      headers['Content-Type'] = operation.consumes[0];
    }
  }
  if (query.size) url += '?' + query;
  output.textContent = '…';
  try {
    const answer = await fetch(url, { method, headers, body });
    const type = answer.headers.get('Content-Type') || '';
    const text = /json|text/.test(type) ? await answer.text() : (await answer.blob()).size + ' bytes';
    let shown = text;
    if (type.includes('json')) { try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* as it is */ } }
    output.textContent = method + ' ' + url + '\n' + answer.status + ' ' + type + '\n\n' + shown;
  } catch (error) {
    output.textContent = String(error);
  }
}

function trial(path, method, operation) {
  const output = el('pre', { hidden: true });
  const form = el('form', { onsubmit: (event) => {
    event.preventDefault();
    output.hidden = false;
    send(path, method.toUpperCase(), operation, form, output);
  } });
  for (const parameter of operation.parameters || []) {
    const name = parameter.in + ':' + parameter.name;
    if (parameter.in === 'body') {
      const value = operation.consumes[0] === 'application/json' ? JSON.stringify(example(parameter.schema), null, 2) : '';
      form.append(el('textarea', { name, value }));
    } else {
      const label = parameter.name + (parameter.required ? '' : '?');
      form.append(el('input', { name, placeholder: label, title: parameter.description || '', required: parameter.required }));
    }
  }
  form.append(el('button', {}, 'Send'));
  return el('div', {}, form, output);
}

function details(path, method, operation) {
  const parameters = (operation.parameters || []).filter((parameter) => parameter.in !== 'body').map((parameter) =>
    el('tr', {}, el('td', {}, el('code', {}, parameter.name)), el('td', {}, parameter.in), el('td', {}, el('code', {}, brief(parameter))),
      el('td', {}, parameter.description || '')));
  const types = new Map();
  const answers = Object.entries(operation.responses).map(([status, answer]) => {
    if (answer.$ref) answer = doc.responses[named(answer.$ref)];
    objects(answer.schema, types);
    return el('tr', {}, el('td', {}, status), el('td', {}, el('code', {}, brief(answer.schema))), el('td', {}, answer.description || ''));
  });
  const body = (operation.parameters || []).find((parameter) => parameter.in === 'body');
  if (body) objects(body.schema, types);
  const guard = operation.security ? Object.keys(operation.security[0]).join(', ') : 'open';
  return el('div', {}, el('p', {}, 'Access: ' + guard), el('table', {}, ...parameters), el('p', {}, body ? 'Body: ' + brief(body.schema) : ''),
    el('table', {}, ...answers), ...[...types].map(([name, object]) => shape(name, object)), el('h4', {}, 'Try it'), trial(path, method, operation));
}

function render() {
  document.getElementById('title').textContent = doc.info.title + ' ' + doc.info.version;
  document.getElementById('about').textContent = doc.info.description;
  const list = el('main', {});
  for (const tag of doc.tags) {
    const section = el('section', {}, el('h2', {}, tag.name, ' ', el('small', {}, tag.description)));
    for (const [path, methods] of Object.entries(doc.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        if (!operation.tags.includes(tag.name)) continue;
        const item = el('details', {}, el('summary', {}, el('b', {}, method.toUpperCase()), el('code', {}, path), el('span', {}, operation.summary)));
        // Built when it is opened: there are many.
        item.addEventListener('toggle', () => item.append(details(path, method, operation)), { once: true });
        section.append(item);
      }
    }
    list.append(section);
  }
  document.getElementById('list').replaceWith(list);
}

document.getElementById('login').onsubmit = async (event) => {
  event.preventDefault();
  const who = document.getElementById('who');
  const form = event.target;
  who.textContent = '…';
  const credentials = { username: form.username.value, password: form.password.value };
  const answer = await fetch('/api/login', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(credentials) });
  token = answer.ok ? (await answer.json()).access_token : '';
  who.textContent = answer.ok ? 'logged in' : answer.status === 404 ? 'not needed' : 'refused';
};

fetch('doc.json').then((answer) => answer.json()).then((json) => { doc = json; render(); })
  .catch((error) => { document.getElementById('list').textContent = String(error); });
