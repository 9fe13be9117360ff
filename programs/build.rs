//! The project's URL in `security_txt!`, which takes nothing but literals: COMPUTE_FUTURES_PROJECT_URL at build time.
#![allow(clippy::print_stdout)]

fn main() {
    let url = std::env::var("COMPUTE_FUTURES_PROJECT_URL").unwrap_or_else(|_| "not set for this build".into());
    println!("cargo:rustc-env=PROJECT_URL={url}");
    println!("cargo:rerun-if-env-changed=COMPUTE_FUTURES_PROJECT_URL");
    println!("cargo:rerun-if-changed=../build.rs");
}
