//! What a newcomer does: start the demo, open the page, approve an action, see it verified.

use std::path::PathBuf;

use crate::support::bot::{Bot, eventually};
use crate::support::browser::Browser;

/// Where the pictures go. `docs/screenshots` shows those that `NIGHTBELL_SCREENSHOTS=docs/screenshots` made.
fn pictures() -> PathBuf {
    let folder = std::env::var_os("NIGHTBELL_SCREENSHOTS").map_or_else(
        || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots"),
        PathBuf::from,
    );
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    folder
}

#[tokio::test]
async fn a_newcomer_sees_a_failure_diagnosed_approves_an_action_and_sees_it_verified() {
    let mut bot = Bot::prepare(&[]);
    bot.launch_demo();
    bot.ready().await;
    let browser = Browser::open(1180, 1000).await;
    browser.goto(&bot.url("/#alerts")).await;
    eventually("the page says that the estate is simulated", || async {
        browser.text().await.contains("DEMO").then_some(())
    })
    .await;

    let approve = "(//section[@id='pane-alerts']//button[starts-with(normalize-space(.), 'Approve')])[last()]";
    eventually("an action is proposed in the page", || async {
        browser.text().await.contains("Approve").then_some(())
    })
    .await;
    let diagnosed = browser.text().await;
    assert!(
        diagnosed.contains("What to do:"),
        "a failure is diagnosed:\n{diagnosed}"
    );
    browser.screenshot(&pictures().join("alert.png")).await;

    browser.click(approve).await;
    eventually("the decision is asked to be confirmed, or made", || async {
        let open = browser
            .run("return document.getElementById('ask').open")
            .await;
        let text = browser.text().await;
        (open == true || text.contains("Approved")).then_some(())
    })
    .await;
    if browser
        .run("return document.getElementById('ask').open")
        .await
        == true
    {
        browser.click("//button[@id='ask-yes']").await;
    }
    // One and the same card says who approved and that it was verified.
    let verified = "return [...document.querySelectorAll('#alerts > *')].find(card =>
        card.innerText.includes('Approved by') && card.innerText.includes('effect verified'))";
    eventually(
        "the card shows who approved, and that it was verified",
        || async {
            let found = browser.run(&format!("{verified} !== undefined")).await;
            (found == true).then_some(())
        },
    )
    .await;
    let show = verified.replace("return ", "const card = ");
    browser
        .run(&format!("{show}; card.scrollIntoView({{block: 'center'}})"))
        .await;
    browser.screenshot(&pictures().join("verified.png")).await;

    browser.goto(&bot.url("/#overview")).await;
    eventually("the overview shows the newest alerts", || async {
        let listed = browser
            .run("return document.querySelectorAll('#newest > *').length")
            .await;
        listed.as_u64().filter(|listed| *listed > 0)
    })
    .await;
    browser.screenshot(&pictures().join("overview.png")).await;
}
