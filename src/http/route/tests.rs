//! Method and path against route and guard.

use super::*;

fn api(auth: bool, read_only: bool) -> config::Api {
    config::Api {
        read_only,
        access_http: config::IpList::default(),
        access_https: config::IpList::default(),
        auth: config::ApiAuth {
            enable: auth,
            disable_localhost: false,
            username: String::new(),
            password: String::new(),
            jwt_secret: String::new(),
            auth0_enable: false,
            auth0_tenants: Vec::new(),
        },
    }
}

fn router(routes: &[(&str, &str)], ui: bool) -> config::Router {
    config::Router {
        blocked_prefixes: vec!["/api".to_owned()],
        routes: routes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ui_path: ui.then(|| PathBuf::from("/srv/ui")),
    }
}

fn table(auth: bool, read_only: bool) -> Table {
    let routes = [
        ("/foo.txt", "/bar.txt"),
        ("/site/*", "/srv/site"),
        ("/ext", "http://x/"),
        ("/q", "/a/../b?c=d"),
        ("/a b", "/c"),
    ];
    Table::new(&router(&routes, true), &api(auth, read_only)).expect("no reserved route")
}

fn method(name: &str) -> Method {
    name.parse().expect("a method")
}

#[track_caller]
fn check(request: &str, route: Route, guard: Guard) {
    check_in(&table(false, false), request, route, guard);
}

#[track_caller]
fn check_in(table: &Table, request: &str, route: Route, guard: Guard) {
    let (name, target) = request.split_once(' ').expect("method and target");
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    let found = table.find(&method(name), path, query);
    assert_eq!((found.route, found.guard), (route, guard), "{request}");
}

fn files(mount: &'static str, path: &str) -> Route {
    Route::Files { mount: mount.into(), path: path.to_owned() }
}

fn process(id: &str) -> Route {
    Route::Process { id: id.to_owned() }
}

fn redirect(location: &str) -> Route {
    Route::Redirect { location: location.to_owned() }
}

#[test]
fn liveness_and_about_know_get_only() {
    check("GET /ping", Route::Ping, Guard::Open);
    check("GET /api", Route::About, Guard::About);
    check("POST /ping", Route::NotFound, Guard::Open);
    check("POST /api", Route::NotFound, Guard::Open);
    check("HEAD /ping", files("disk", "/ping"), Guard::Open);
    check("GET /ping/", files("disk", "/ping/"), Guard::Open);
    check("GET /apix", files("disk", "/apix"), Guard::Open);
    check("GET /api/", Route::NotFound, Guard::Token);
}

#[test]
fn login_exists_with_authentication_only() {
    check("POST /api/login", Route::NotFound, Guard::Token);
    check_in(&table(true, false), "POST /api/login", Route::Login, Guard::Open);
    check_in(&table(true, false), "GET /api/login", Route::NotFound, Guard::Token);
    check_in(&table(true, false), "GET /api/login/refresh", Route::Refresh, Guard::Refresh);
    check_in(&table(true, false), "POST /api/login/refresh", Route::NotFound, Guard::Token);
}

#[test]
fn ids_are_decoded_once() {
    check("GET /api/v3/process/a%20b", process("a b"), Guard::Token);
    check("GET /api/v3/process/a%2Fb", process("a/b"), Guard::Token);
    check("GET /api/v3/process/%C3%BC", process("ü"), Guard::Token);
    check("GET /api/v3/process/a%3Fb%23c", process("a?b#c"), Guard::Token);
    check("GET /api/v3/process/a+b", process("a+b"), Guard::Token);
    check("GET /api/v3/process/50%25", process("50%"), Guard::Token);
    check("GET /api/v3/process/50%2525", process("50%25"), Guard::Token);
    check("GET /api/v3/process/..", process(".."), Guard::Token);
    check("GET /api/v3/process/a%0Ab%00", process("a\nb\0"), Guard::Token);
    check("GET /api/v3/process/%FF", Route::NotFound, Guard::Token);
    check("GET /api/v3/process/a%2Fb/state", Route::ProcessState { id: "a/b".to_owned() }, Guard::Token);
}

#[test]
fn slashes_case_and_methods_matter() {
    for request in [
        "GET /api/v3",
        "GET /api/v3/",
        "GET /api/v3/process/",
        "GET /api/v3/process/x/",
        "GET /api/v3/process//state",
        "GET /api/v3//process",
        "GET /api/v3/fs/",
        "GET /api/v3/Process",
        "HEAD /api/v3/process",
        "PATCH /api/v3/process",
        "DELETE /api/v3/metadata/k",
        "GET /api/v3/rtmp",
        "GET /api/graph/",
        "GET /api/graph/query",
        "POST /api/graph",
        "GET /api/nope",
    ] {
        check(request, Route::NotFound, Guard::Token);
    }
    check("GET /api/v3/widget/process/x", Route::Widget { id: "x".to_owned() }, Guard::Open);
    check("POST /api/v3/widget/process/x", Route::NotFound, Guard::Token);
    check("GET /api/graph", Route::GraphPage, Guard::Token);
    check("POST /api/graph/query", Route::GraphQuery, Guard::Token);
    check("GET /api/openapi.json", Route::Docs(Page::OpenApi), Guard::Open);
    check("GET /api/swagger/doc.json", Route::Docs(Page::Swagger), Guard::Open);
    check("GET /api/swagger/", Route::Docs(Page::Index), Guard::Open);
    check("GET /api/swagger/a/doc.json", Route::Docs(Page::Unknown), Guard::Open);
    check("GET /api/swagger", Route::NotFound, Guard::Token);
    check("HEAD /api/swagger/doc.json", Route::NotFound, Guard::Token);
}

#[test]
fn mounts_through_the_api() {
    let get = |path: &str| Route::MountGet { name: "mem".to_owned(), path: path.to_owned() };
    check("GET /api/v3/fs/mem", Route::MountList { name: "mem".to_owned() }, Guard::Token);
    check("GET /api/v3/fs/mem/", get("/"), Guard::Token);
    check("HEAD /api/v3/fs/mem/a/b%20c", get("/a/b c"), Guard::Token);
    check("GET /api/v3/fs/mem//a", get("//a"), Guard::Token);
    check("PATCH /api/v3/fs/mem/a", Route::NotAllowed(&["DELETE", "GET", "HEAD", "PUT"]), Guard::Token);
    check_in(&table(false, true), "PUT /api/v3/fs/mem/a", Route::NotAllowed(&["GET", "HEAD"]), Guard::Token);
    check("GET /api/v3/fs/mem/%FF", Route::NotFound, Guard::Token);
}

#[test]
fn playout_calls() {
    let call = |call| Route::Playout { id: "p".to_owned(), input: "i/n".to_owned(), call };
    let checked = |request: &str, route| check(request, route, Guard::Token);
    checked("GET /api/v3/process/p/playout/i%2Fn/status", call(Call::Status));
    checked("GET /api/v3/process/p/playout/i%2Fn/reopen", call(Call::Reopen));
    checked("PUT /api/v3/process/p/playout/i%2Fn/stream", call(Call::Stream));
    checked("GET /api/v3/process/p/playout/i%2Fn/stream", Route::NotFound);
    checked("GET /api/v3/process/p/playout/i%2Fn/keyframe/", call(Call::KeyframeJpg));
    checked("GET /api/v3/process/p/playout/i%2Fn/keyframe/a/b.png", call(Call::KeyframePng));
    checked("GET /api/v3/process/p/playout/i%2Fn/keyframe", Route::NotFound);
    checked("POST /api/v3/process/p/playout/i%2Fn/keyframe/x", Route::NotAllowed(&["GET"]));
    checked("GET /api/v3/process/p/playout/i%2Fn/errorframe/encode", call(Call::ErrorframeEncode));
    checked("POST /api/v3/process/p/playout/i%2Fn/errorframe/x", call(Call::Errorframe));
    checked("GET /api/v3/process/p/playout/i%2Fn/errorframe/x", Route::NotAllowed(&["POST", "PUT"]));
    checked("GET /api/v3/process/p/playout/i%2Fn", Route::NotFound);
    let read_only = table(false, true);
    check_in(&read_only, "GET /api/v3/process/p/playout/i%2Fn/reopen", call(Call::Reopen), Guard::Token);
    check_in(&read_only, "PUT /api/v3/process/p/playout/i%2Fn/stream", Route::NotFound, Guard::Token);
}

#[test]
fn read_only_hides_writes_of_the_api() {
    let table = table(false, true);
    for request in [
        "POST /api/v3/process",
        "PUT /api/v3/process/x",
        "DELETE /api/v3/process/x",
        "PUT /api/v3/process/x/command",
        "PUT /api/v3/process/x/metadata/k",
        "PUT /api/v3/metadata/k",
        "PUT /api/v3/config",
        "GET /api/v3/config/reload",
        "POST /api/v3/hardware/probe",
    ] {
        check_in(&table, request, Route::NotFound, Guard::Token);
    }
    check_in(&table, "GET /api/v3/skills/reload", Route::SkillsReload, Guard::Token);
    check_in(&table, "GET /api/v3/hardware", Route::Hardware, Guard::Token);
    check_in(&table, "GET /api/v3/hardware/probe", Route::NotFound, Guard::Token);
    check_in(&table, "PUT /memfs/x", files("mem", "/x"), Guard::Mount);
}

#[test]
fn file_mounts() {
    check("GET /", files("disk", "/"), Guard::Open);
    check("GET /a%20c", files("disk", "/a c"), Guard::Open);
    check("GET /memfs", files("disk", "/memfs"), Guard::Open);
    check("GET /memfs/", files("mem", "/"), Guard::Open);
    check("HEAD /memfs/x%2Fy.ts", files("mem", "/x/y.ts"), Guard::Open);
    for name in ["POST", "PUT", "DELETE"] {
        check(&format!("{name} /memfs/x"), files("mem", "/x"), Guard::Mount);
        check(&format!("{name} /x"), Route::NotFound, Guard::Open);
    }
    check("PATCH /memfs/x", Route::NotFound, Guard::Open);
    check("GET /memfs/%FF", Route::NotFound, Guard::Open);
    check("CONNECT *", Route::NotFound, Guard::Open);
}

#[test]
fn redirects_and_static_directories() {
    check("POST /foo.txt?x=1", redirect("/bar.txt"), Guard::Open);
    check("GET /foo.txt/", files("disk", "/foo.txt/"), Guard::Open);
    check("GET /q", redirect("/b?c=d"), Guard::Open);
    check("GET /a%20b", redirect("/c"), Guard::Open);
    check("GET /ext", files("disk", "/ext"), Guard::Open);
    check("GET /ui?x=1", redirect("/ui/?x=1"), Guard::Open);
    let tree = |root: &str, path: &str| Route::Tree { root: PathBuf::from(root), path: path.to_owned() };
    check("GET /ui/ui", tree("/srv/ui", "/ui"), Guard::Open);
    check("GET /ui/../x", tree("/srv/ui", "/../x"), Guard::Open);
    check("POST /ui/x", Route::NotFound, Guard::Open);
    check("GET /site/d/f.txt", tree("/srv/site", "/d/f.txt"), Guard::Open);
    check("GET /uix", files("disk", "/uix"), Guard::Open);
}

#[test]
fn reserved_prefixes_are_refused() {
    for (route, ui) in [("/api/x", false), ("/apix/*", false), ("/ui", true)] {
        assert!(Table::new(&router(&[(route, "/y")], ui), &api(false, false)).is_err(), "{route}");
    }
    assert!(Table::new(&router(&[("/ui", "/y")], false), &api(false, false)).is_ok());
}
