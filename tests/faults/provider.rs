//! Providers that are down, slow, lying or talking nonsense: no failed job costs anything, no lie costs more than the hold (I-8).

use compute_futures_cli::args::Only;
use compute_futures_protocol::{Chain, Usdc};
use compute_futures_tests::{Behaviour, Books, Upstream, Worlds, usdc};

#[tokio::test]
async fn what_a_provider_does_wrong_costs_the_agent_nothing() {
    let upstream = Upstream::start().await;
    // A provider knows of no chain.
    let worlds = Worlds::start_on(Some(Only::Base), "provider", &upstream.settings()).await;
    let world = worlds.on(Chain::Base);
    let agent = world.agent(0, "50", Usdc::MAX).await;
    let request = agent.summary("A question.");
    let mut charged_jobs = 1;

    for behaviour in
        [Behaviour::Down, Behaviour::Slow, Behaviour::Garbage, Behaviour::WrongShape, Behaviour::Redirecting]
    {
        upstream.behave(behaviour);
        let seen = upstream.requests();
        let payer = world.payer(&agent);
        let terms = payer.terms(Some(&world.relayer.offer(&request).await.expect("an offer"))).expect("terms");
        let headers = payer.headers(&terms, &payer.authorization(&request, terms.max_list), None).expect("headers");
        let answer = reqwest::Client::new()
            .post(world.relayer.url(&request.path))
            .headers(headers.clone())
            .header("content-type", "application/json")
            .body(request.body.clone())
            .send()
            .await
            .expect("an answer");
        let status = answer.status().as_u16();
        let body: serde_json::Value = answer.json().await.expect("JSON");
        assert!(matches!(status, 502..=504), "{behaviour:?}: {status} {body}");
        assert!(body["code"].is_string() && body["hint"].is_string(), "{behaviour:?}: {body}");
        assert!(upstream.requests() > seen, "{behaviour:?}: the provider was asked");

        // The very same payment works once the provider does: nothing was taken for the failure.
        upstream.behave(Behaviour::Honest);
        let answer = world.relayer.send(&request, &headers).await.expect("an answer");
        assert_eq!(answer.status, 200, "{behaviour:?}: {}", answer.body);
        charged_jobs += 1;
    }

    upstream.behave(Behaviour::Lying);
    let payer = world.payer(&agent);
    let terms = payer.terms(Some(&world.relayer.offer(&request).await.expect("an offer"))).expect("terms");
    let answer = world.run(&agent, &request).await.expect("an answer");
    if answer.status == 200 {
        let receipt = compute_futures_cli::client::receipt_of(&answer).expect("a receipt").receipt;
        assert!(receipt.list_amount <= terms.max_list, "a lie is bounded by what the request could cost");
        charged_jobs += 1;
    } else {
        assert!(matches!(answer.status, 502..=504), "{}", answer.body);
    }

    let books = Books::balanced(&world, &[agent.account]).await;
    assert_eq!(books.jobs(agent.account), charged_jobs);
    assert!(books.charged(agent.account) < usdc("1"), "seven short jobs cost less than a dollar");
}
