//! Tokens made with a throw-away RSA key; its private half was not kept.

use std::time::{Duration, Instant, UNIX_EPOCH};

use super::*;

const KEYS: &str = r#"{"keys": [{"alg": "RS256", "kty": "RSA", "use": "sig", "n": "w_oAP1nTtk4dZcHsiYKdeIzECzsJlmPmv7xLcxpUMQULL3kYwU-1IXZ1LI1_qP5wX9fRJjjFeYxr2fg2BGUTTMU06gIpxDibBXrI2YAFpflUNtQ_FnYZRo9X-RljuETa5IZByiiIVHpgzk7JcNttTYleT8HPW7VqUcxy70twIKNmuOTRchnYyo_CSpLFfnU9EZHkjPG8u_nyotzK45X88gno2NO1PsFul9eUzkrCa6taxU0JnD8_NlsC1zu7PEZvIrD2ZJBCbt9RHPeW1rWwVeOYHIbIVWBdGAjqvhj9yJMWMtqMKRyVa74aj8P5i4_uYKILndN5ff71EO7FjnCWlw", "e": "AQAB", "kid": "one"}]}"#;
const VALID: &str = "eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCIsICJraWQiOiAib25lIn0.eyJpc3MiOiAiaHR0cHM6Ly90LmV4YW1wbGUvIiwgInN1YiI6ICJhdXRoMHwxIiwgImF1ZCI6IFsieCJdLCAiZXhwIjogMjAwMDAwMDAwMH0.OYj2uLKiIjYyKPO3YjznsA9uzzxY7nO-zk7EsO8fDRL6FVCFKqwY2iFjMtbdZOFCl9IYqTXAiMq-GEsgPpRm0-QqaZTzfquKKVznKhDBrh6PTv4a4lY9vI17sg7L1Qap130Hjb8wkf5qsbsV-9gRzyx9yLLGvmaJdvcJLD9m_kDRMJwWyzf2uAsrf3Ij_kqOZ_BtZp7rR1IqaV-zO9NWG_kQ8uOy0ENSAroj2jayls20pCw12enoVXIfBZ4BuYiN6LfQGw5XFu7Xrlnl4aPsPJbPtH1KElPBq5kZcjXuQFg7qf3dq3qXxgRqnOeQllQ5E-_CX-8k1d_47vBxzUkxsg";
const STRANGER: &str = "eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCIsICJraWQiOiAib25lIn0.eyJpc3MiOiAiaHR0cHM6Ly90LmV4YW1wbGUvIiwgInN1YiI6ICJhdXRoMHwyIiwgImF1ZCI6IFsieCJdLCAiZXhwIjogMjAwMDAwMDAwMH0.niGqPu5b-W8OGHs8QPhi_T36axhR43urej9Q0Zq56hWEzYlsE2OFq7boVuXsysS6J1owKJ3W3w2ZZ8WNCyOGI8c7VaP89rnnp7WAHI_ui0QEWzGpMZA9DJ2nZ6Qxi01qzdFs8VGDsS_X_pEXsjcR95ISevVbbeBngpzdIznE9zhaaLfdpEGSAX1HIAwxyemAmdLhrrD6fKuMQp-BS3yLKCSPOw4tEbHJsmKqbW5N39FXxZYyWJwpZC_UAVeFpWJrsA7zBTqD6CYpCY2_IkyBaAhcmdEmkQOQr37gHg2F5hwpdCHw1rLiRU1ZWIrik_7L3asJMOhhIMyEsI--WOOBIg";
const EXPIRED: &str = "eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCIsICJraWQiOiAib25lIn0.eyJpc3MiOiAiaHR0cHM6Ly90LmV4YW1wbGUvIiwgInN1YiI6ICJhdXRoMHwxIiwgImF1ZCI6IFsieCJdLCAiZXhwIjogMTAwMDAwMDAwMH0.bzia-RW5ae1Ih7t-ohhUq32b0g-Hk7kRK4Pyh28mvUCpF-qdrsy8qkLzSfqTKtXDkoT3ITvSGF0NEeK59aEao8tMRt1MX59aGkGyq6U38UtXft-ZmYsofqcjGkx1VJvQUfQ41Qs7TB0XbM9is-jtCxKmAWcf18hbsb189vl_h9cAqeUlryjdLWZ4ssXIhyEPqKabbNF9ncrEWw-DkeXBZk7rZBfsBpqMQN1o-M0OE0s3EInO1Hk8hUfYclCohgHnfnrf3AhYLJN3kFdotSl944iw4uMZbmq5R2CAOfh5wSwPnfliFl9dfhwaQgDmJrddd954je6Ps7c75eLPCaZbJg";
const ETERNAL: &str = "eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCIsICJraWQiOiAib25lIn0.eyJpc3MiOiAiaHR0cHM6Ly90LmV4YW1wbGUvIiwgInN1YiI6ICJhdXRoMHwxIiwgImF1ZCI6IFsieCJdfQ.j8qLbdmfPewSR_hjBuWqg-yYXsvTuWHeQFsjdXgptlL_gdFKHK0B54qkMWs-3GXHOlCIo18sg3hAyq9bk_Qb6TWbLPcaP3eI3lyKSp8gopOStkkAA5txmBCh_AmdjzXszWoBYc3tGyW_zm_CHqWpP62QhM_5JogzEl73Vf0_ymlBJz6Om_XfQOPz5oQHGgRdIeT0Pb2vcBAgrKoRfSxmA8JcFWRaEZqanWLrINin0l2OyIUfD0KWajuck06qszjlOp4pXwthcW2KcKbQVcq16Men7-d6indh90LdhHYsevaRRoeiIdGWkXJyYApmHQ-EacRmaqQeFHmt6qpigwOiMw";
const OTHER_KEY: &str = "eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCIsICJraWQiOiAib25lIn0.eyJpc3MiOiAiaHR0cHM6Ly90LmV4YW1wbGUvIiwgInN1YiI6ICJhdXRoMHwxIiwgImF1ZCI6IFsieCJdLCAiZXhwIjogMjAwMDAwMDAwMH0.bGj-QRaAYG4z1PMi0K2YSAFeBQlzaaAs0S5qVF7SWLSd7fsYveIL0Ny_VK8r-uOcLr4tPwGYhMuY5b0JSt_cRy9Tub04KQx8GIJT4XgvJAjjPlrv1HSMtCBxMFYHSsUyLxMQaDeU0jPEkv4FV8xKAC7USFWU7yPgNZYp1MHr4NGJ5c-rcJrCxuzihm6WooNMSXDGiO69ur2QRmP-51Kuhk3uvgkvVPMZMW6_pRIlthMvCURow1MmJhJ0ahMKgsjU86YiRvHtyBkehM1b6CDJ00zxlVLjX3Ie3ketuGOsVNucbDdpRVerJOn8o1JDJsxJfR544i71AZC1XFXAEyGHFQ";
const UNKNOWN_KID: &str = "eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCIsICJraWQiOiAidHdvIn0.eyJpc3MiOiAiaHR0cHM6Ly90LmV4YW1wbGUvIiwgInN1YiI6ICJhdXRoMHwxIiwgImF1ZCI6IFsieCJdLCAiZXhwIjogMjAwMDAwMDAwMH0.uYIKuUf3XejiHyEAKltgErFRDCIrgg3ItzGCiAnZwUX_6YAgaZok5Cw9feWowavNpPOpr0zpKhFREL3R1iT3Nfjra1PEwC4G4xPHIAyi8asbsKXTI-KDR02_UwXtFd-R3RlHbyZe1iAQfHJ99oGoDRGr6oZZ78lKZ7qwHSMVgXL-lM_ILfM9guUMjpodyeNnV_8bae2D9d4uBFkTfuadOfTIBGoBTEySuvvTi9vEkQQIMaURJOJBk8A16ZURdvUdHuOHrpEO4GDLU8Ln5sj0bIB53TK2jbfOUDUwJZV-8ebfZi5tMgtOhbuiAOPWh4Y3K5wsn3qbbWMIJjIeBE5sgg";
const OTHER_ALGORITHM: &str = "eyJhbGciOiAiUlMzODQiLCAidHlwIjogIkpXVCIsICJraWQiOiAib25lIn0.eyJpc3MiOiAiaHR0cHM6Ly90LmV4YW1wbGUvIiwgInN1YiI6ICJhdXRoMHwxIiwgImF1ZCI6IFsieCJdLCAiZXhwIjogMjAwMDAwMDAwMH0.neRB2-nktTewJgstGoDd3w0b9frrEavv5u1vyYZaqPSoOFpT47NQFeUw03v06w-1GrkVUgmi9HGRTS9-Gv_FkE3HklUaT06TppjoZCFgKng2QVqBjLW1JPM9-YlSLZoU5Rfqask9Sfecu-mWj_fu2i1M3IkHSLd7_mjhGS16_JrlEFdYvGkzviRiSFoIYUTwm8I0X4Nzw2rvL4IIqwkOo4DSe3peLZKoj6hHqI6fBf2i02EpLo1wbUNMG6I4vLP83tOuBdL7xKnQ2Ma76CBI0H0KBLCTS-1Faovhm_VYqnlwlSNZT5x0RXZGrNRrx4mY5QG8xdj7U8jUsTIN7fXE-A";
const BAD_AUDIENCE: &str = "eyJhbGciOiAiUlMyNTYiLCAidHlwIjogIkpXVCIsICJraWQiOiAib25lIn0.eyJpc3MiOiAiaHR0cHM6Ly90LmV4YW1wbGUvIiwgInN1YiI6ICJhdXRoMHwxIiwgImF1ZCI6IDUsICJleHAiOiAyMDAwMDAwMDAwfQ.PLhRh7ru_vTbsNErmFVBUj14rNBEvmK4QZRHrfbxJSC8PQihT85fABqbru-2ybSIUiuX8p3lrLVtjoeJiSUXoZBlN1E_wPlEt38w8isGH42gbMnAlo4encuvGyyYbx16SB1CKlXEn3AaY29T976s3DmWWbWTGirEYSBtAlSnvAJSChvBcj4z_EVI0qaWNCdjBaFAHh04aafH0BCwcapl_V-7KJdPuI6ydtCPJRaF7cNgIjW4tDZEmTSEpETstw10k6V_v0Jc9kd1yXEbGa2LybxW3PpbANxHeqDekojKvuRERRgsixwrZYicGNkwodRrXCF-Q0SzpIJxBeZSqjBJkA";

fn tenant() -> Auth0Tenant {
    Auth0Tenant {
        domain: "t.example".to_owned(),
        audience: "x".to_owned(),
        client_id: "c".to_owned(),
        users: vec!["auth0|1".to_owned()],
    }
}

fn verify_at(wall: u64, keys: Option<&KeySet>, token: &str) -> Result<String, Error> {
    let now = Now { mono: Instant::now(), wall: UNIX_EPOCH + Duration::from_secs(wall) };
    verify(now, &tenant(), keys, token)
}

#[track_caller]
fn refused(token: &str, expected: &str) {
    let keys: KeySet = serde_json::from_str(KEYS).expect("a key set");
    match verify_at(1_700_000_000, Some(&keys), token) {
        Ok(sub) => panic!("accepted for {sub}"),
        Err(error) => assert_eq!(error.to_string(), expected),
    }
}

#[test]
fn a_user_of_the_tenant_passes() {
    let keys: KeySet = serde_json::from_str(KEYS).expect("a key set");
    assert_eq!(verify_at(1_700_000_000, Some(&keys), VALID).expect("valid"), "auth0|1");
    assert!(matches!(verify_at(2_000_000_000, Some(&keys), VALID), Err(Error::Time(_))));
    assert!(matches!(verify_at(1_700_000_000, None, VALID), Err(Error::NoKeys)));
}

#[test]
fn everything_else_is_refused() {
    refused(STRANGER, "the user is not allowed");
    refused(EXPIRED, "the token has expired or is not valid yet");
    refused(ETERNAL, "the token has no usable expiry");
    refused(OTHER_KEY, "the token is not signed by the tenant");
    refused(UNKNOWN_KID, "the token names a key that the tenant does not have");
    refused(OTHER_ALGORITHM, "the token's algorithm is not that of the key");
    refused(BAD_AUDIENCE, "the token is not signed by the tenant");
    refused("a.b.c", "the token's header is unusable");
}

#[test]
fn a_public_key_is_no_hmac_secret() {
    let keys: KeySet = serde_json::from_str(KEYS).expect("a key set");
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT","kid":"one"}"#);
    let message = format!("{header}.{}", VALID.split('.').nth(1).expect("claims"));
    let secret = jsonwebtoken::EncodingKey::from_secret(KEYS.as_bytes());
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &secret, Algorithm::HS256).expect("HMAC takes any key");
    let forged = format!("{message}.{signature}");
    assert!(matches!(verify_at(1_700_000_000, Some(&keys), &forged), Err(Error::Algorithm)));
}

#[test]
fn the_issuer_names_the_tenant() {
    let tenants = [tenant()];
    assert_eq!(tenant_of(&tenants, VALID), Some(&tenants[0]));
    assert_eq!(tenant_of(&tenants, "garbage"), None);
    let foreign = URL_SAFE_NO_PAD.encode(r#"{"iss":"https://t.example.evil/"}"#);
    assert_eq!(tenant_of(&tenants, &format!("x.{foreign}.y")), None);
    assert_eq!(describe(&tenants[0]), "auth0 domain=t.example audience=x clientid=c");
}
