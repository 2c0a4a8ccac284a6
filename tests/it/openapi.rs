//! The service describes itself, and what it describes is what it serves.

use reqwest::Method;
use serde_json::{Map, Value};
use sesame_tests::{Answer, World};

/// Each documented operation: method, path and what is said of it.
fn operations(api: &Value) -> Vec<(Method, &String, &Value)> {
    let paths = api["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, said)| (method.to_uppercase().parse().unwrap(), path, said))
    });
    all.collect()
}

/// The path with the examples of its parameters, without a leading slash.
fn filled(path: &str, said: &Value) -> String {
    let parameters = said["parameters"].as_array().into_iter().flatten();
    let filled = parameters.filter(|parameter| parameter["in"] == "path").fold(
        path.to_owned(),
        |path, parameter| {
            let name = format!("{{{}}}", parameter["name"].as_str().unwrap());
            path.replace(&name, parameter["example"].as_str().unwrap())
        },
    );
    filled.trim_start_matches('/').to_owned()
}

#[tokio::test]
async fn the_description_and_its_page_are_served() {
    let world = World::start().await;
    let answer = world.sms.get("openapi.json").await;
    answer.is_ok();
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let api = answer.json();
    assert_eq!(api["openapi"], "3.1.0");
    assert_eq!(&api, sesame_sms::openapi());

    let page = world.sms.get("docs").await;
    page.is_ok();
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let html = String::from_utf8(page.body.clone()).unwrap();
    for attribute in ["src=\"", "href=\""] {
        for value in html.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(value.starts_with('#') || value == "openapi.json", "{attribute}{value}");
        }
    }
    assert!(!html.contains("<script"));
}

/// Asked without any authentication, and with nothing in the body, every route answers what it says that it may.
#[tokio::test]
async fn every_route_that_is_described_is_served() {
    let world = World::start().await;
    let (mut asked, mut refused) = (0, 0);
    for (method, path, said) in operations(sesame_sms::openapi()) {
        // `Answer::to` holds each against the description.
        let answer = Answer::to(world.sms.request(method.clone(), &filled(path, said))).await;
        let signed = said["parameters"].as_array().into_iter().flatten();
        let signed = signed.filter(|parameter| parameter["in"] == "header").count();
        let problem = answer.header("sesame-problem").unwrap_or_default().to_owned();
        let nothing_here = format!("There is nothing at {path}.");
        assert!(!String::from_utf8_lossy(&answer.body).contains(&nothing_here), "{method} {path}");
        assert_ne!(problem, "method_not_allowed", "{method} {path}");
        if said.get("security").is_some() {
            assert_eq!(answer.status, 401, "{method} {path}: {problem}");
            refused += 1;
        } else if signed == 0 && method == Method::GET {
            assert!([200, 404].contains(&answer.status), "{method} {path}: {problem}");
        }
        asked += 1;
    }
    assert!(asked >= 29 && refused >= 5, "{asked} asked, {refused} refused");
}

/// `HEAD` is `GET` without the body: the same status, code and media type.
#[tokio::test]
async fn head_is_answered_wherever_get_is() {
    let world = World::start().await;
    for (method, path, said) in operations(sesame_sms::openapi()) {
        if method == Method::GET {
            let path = filled(path, said);
            let get = world.sms.get(&path).await;
            let head = Answer::to(world.sms.request(Method::HEAD, &path)).await;
            assert_eq!(head.status, get.status, "{path}");
            for header in ["content-type", "sesame-problem"] {
                assert_eq!(head.header(header), get.header(header), "{path}");
            }
            assert!(head.body.is_empty(), "{path}");
        }
    }
}

#[tokio::test]
async fn what_is_not_described_is_refused_in_the_form_of_its_surface() {
    let world = World::start().await;
    for nowhere in ["", "v1", "v1/", "v1/nothing", "docs/", "openapi.json/x", "kbsx/v0/auth"] {
        let answer = world.sms.get(nowhere).await;
        answer.is_problem(404, "not_found");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{nowhere}");
    }
    for nowhere in ["kbs", "kbs/", "kbs/v0", "kbs/v0/nothing", "kbs/v1/auth", "kbs/v0/auth/"] {
        let answer = world.sms.get(nowhere).await;
        answer.is_problem(404, "not_found");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{nowhere}");
        assert_eq!(answer.json().get("title"), None, "{nowhere}");
    }
    let mut refused = 0;
    for (path, methods) in sesame_sms::openapi()["paths"].as_object().unwrap() {
        let methods = methods.as_object().unwrap();
        let said = methods.values().next().unwrap();
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
            if !methods.contains_key(&method.to_lowercase()) {
                let request = world.sms.request(method.parse().unwrap(), &filled(path, said));
                let answer = Answer::to(request).await;
                answer.is_problem(405, "method_not_allowed");
                let allowed = answer.header("allow").unwrap_or_default();
                assert_eq!(names(allowed), served(methods), "{method} {path}");
                refused += 1;
            }
        }
    }
    assert!(refused > 100, "only {refused} were refused");
}

fn names(allow: &str) -> Vec<String> {
    let mut names: Vec<_> = allow.split(',').map(|name| name.trim().to_owned()).collect();
    names.sort();
    names
}

/// The methods of a path as `Allow` lists them.
fn served(methods: &Map<String, Value>) -> Vec<String> {
    let mut served: Vec<_> = methods.keys().map(|method| method.to_uppercase()).collect();
    if methods.contains_key("get") {
        served.push("HEAD".to_owned());
    }
    served.sort();
    served
}
