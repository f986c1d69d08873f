// Package browser holds the tests of runpod-burst's report and of the page of
// examples/service in a real browser. It is a module of its own, so that nobody
// else needs what drives the browser.
package browser
