//! Answers as they leave: shape, indentation, compression, `Vary`.

use bytes::Bytes;
use http_body_util::BodyExt;

use super::*;

fn asked<'a>(method: &'a Method, query: &'a Query, gzip: Gzip) -> Asked<'a> {
    Asked { method, query, accepts_gzip: true, gzip }
}

fn body(response: Response) -> Bytes {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(response.into_body().collect()).expect("a whole body").to_bytes()
}

#[test]
fn errors_have_one_shape() {
    let (query, pools) = (Query::default(), gzip::Compressions::default());
    let error = || Error::new(StatusCode::BAD_REQUEST, "Bad <request>", ["a\nb".to_owned()]);
    let response = finish(&asked(&Method::GET, &query, Gzip::Never), Err(error()), &pools);
    assert_eq!(response.status(), 400);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(body(response), "{\"code\":400,\"message\":\"Bad <request>\",\"details\":[\"a\",\"b\"]}\n");

    let response = finish(&asked(&Method::HEAD, &query, Gzip::Never), Err(error()), &pools);
    assert_eq!(response.status(), 400);
    assert!(response.headers().get("content-type").is_none());
    assert_eq!(body(response), "");
}

#[test]
fn pretty_reaches_errors_and_leaves_files_alone() {
    let (query, pools) = (Query::parse("pretty"), gzip::Compressions::default());
    let response = finish(&asked(&Method::GET, &query, Gzip::Never), Err(Error::not_found()), &pools);
    let text = "{\n  \"code\": 404,\n  \"message\": \"Not Found\",\n  \"details\": [\n    \"Not Found\"\n  ]\n}\n";
    assert_eq!(body(response), text);
    let mut file = Response::new(response::full("{}"));
    file.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    assert_eq!(body(finish(&asked(&Method::GET, &query, Gzip::Never), Ok(file), &pools)), "{}");
}

#[test]
fn large_bodies_are_compressed_where_it_applies() {
    #[track_caller]
    fn check(gzip: Gzip, content_type: &'static str, size: usize, status: u16, expected: bool) {
        let (query, pools) = (Query::default(), gzip::Compressions::default());
        let mut response = Response::new(response::full(vec![b'x'; size]));
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
        let response = finish(&asked(&Method::GET, &query, gzip), Ok(response), &pools);
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
fn vary_tells_where_compression_could_apply() {
    let (query, pools) = (Query::default(), gzip::Compressions::default());
    let vary = |gzip, content_type: &'static str| {
        let mut response = Response::new(response::full("x"));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        let response = finish(&asked(&Method::GET, &query, gzip), Ok(response), &pools);
        response.headers().contains_key(header::VARY)
    };
    assert!(vary(Gzip::Always, "video/MP2T") && vary(Gzip::ByType, "text/plain"));
    assert!(!vary(Gzip::ByType, "video/MP2T") && !vary(Gzip::Never, "text/plain"));
}
