//! Answers as they leave: shape, indentation, compression, `Vary`.

use bytes::Bytes;
use http_body_util::BodyExt;

use super::*;

fn asked(method: &Method, gzip: Gzip) -> Asked<'_> {
    Asked { method, path: "/", query: "", origin: None, requested: None, accepts_gzip: true, gzip }
}

fn sent(asked: &Asked<'_>, answer: Answer) -> Response {
    finish(asked, answer, &gzip::Compressions::default(), &cors::Cors::new(vec!["*".to_owned()]))
}

fn body(response: Response) -> Bytes {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(response.into_body().collect()).expect("a whole body").to_bytes()
}

#[test]
fn errors_have_one_shape() {
    let error = || Error::new(StatusCode::BAD_REQUEST, "Bad <request>", ["a\nb".to_owned()]);
    let response = sent(&asked(&Method::GET, Gzip::Never), Err(error()));
    assert_eq!(response.status(), 400);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(body(response), "{\"code\":400,\"message\":\"Bad <request>\",\"details\":[\"a\",\"b\"]}\n");

    let response = sent(&asked(&Method::HEAD, Gzip::Never), Err(error()));
    assert_eq!(response.status(), 400);
    assert!(response.headers().get("content-type").is_none());
    assert_eq!(body(response), "");
}

#[test]
fn pretty_reaches_errors_and_leaves_files_alone() {
    let asked = Asked { query: "pretty", ..asked(&Method::GET, Gzip::Never) };
    let response = sent(&asked, Err(Error::not_found()));
    let text = "{\n  \"code\": 404,\n  \"message\": \"Not Found\",\n  \"details\": [\n    \"Not Found\"\n  ]\n}\n";
    assert_eq!(body(response), text);
    let mut file = Response::new(response::full("{}"));
    file.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    assert_eq!(body(sent(&asked, Ok(file))), "{}");
}

#[test]
fn large_bodies_are_compressed_where_it_applies() {
    #[track_caller]
    fn check(gzip: Gzip, content_type: &'static str, size: usize, status: u16, expected: bool) {
        let mut response = Response::new(response::full(vec![b'x'; size]));
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
        let response = sent(&asked(&Method::GET, gzip), Ok(response));
        assert_eq!(response.headers().contains_key(header::CONTENT_ENCODING), expected);
        assert_eq!(response.headers().contains_key(header::CONTENT_LENGTH), !expected);
        let bytes = body(response);
        if expected {
            let mut text = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(&bytes[..]);
            std::io::Read::read_to_end(&mut decoder, &mut text).expect("gzip");
            assert_eq!(text, vec![b'x'; size]);
        } else {
            assert_eq!(bytes.len(), size);
        }
    }
    check(Gzip::Always, "video/MP2T", 1000, 200, true);
    check(Gzip::Always, "application/json", 300_000, 404, true);
    check(Gzip::Always, "application/json", 999, 200, false);
    check(Gzip::ByType, "application/vnd.apple.mpegurl", 1000, 200, true);
    check(Gzip::ByType, "text/html; charset=utf-8", 1000, 200, true);
    check(Gzip::ByType, "video/MP2T", 5000, 200, false);
    check(Gzip::ByType, "text/plain", 5000, 206, false);
    check(Gzip::Never, "text/plain", 5000, 200, false);
}

#[test]
fn vary_tells_what_the_answer_depends_on() {
    #[track_caller]
    fn check(method: &Method, gzip: Gzip, content_type: &'static str, expected: &str) {
        let mut response = Response::new(response::full("x"));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        let origin = HeaderValue::from_static("http://a");
        let response = sent(&Asked { origin: Some(&origin), ..asked(method, gzip) }, Ok(response));
        let all: Vec<_> = response.headers().get_all(header::VARY).iter().collect();
        assert_eq!(all, [expected]);
    }
    check(&Method::GET, Gzip::Always, "video/MP2T", "Accept-Encoding, Origin");
    check(&Method::GET, Gzip::ByType, "text/plain", "Accept-Encoding, Origin");
    check(&Method::GET, Gzip::ByType, "video/MP2T", "Origin");
    check(&Method::GET, Gzip::Never, "text/plain", "Origin");
    let preflight = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    check(&Method::OPTIONS, Gzip::Never, "", preflight);
    check(&Method::OPTIONS, Gzip::Always, "", &format!("Accept-Encoding, {preflight}"));
}
