package browser

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// startService runs examples/service on its simulated endpoint and returns the
// page's address.
func startService(t *testing.T, speed int) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "service")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = "../../../examples/service" // a module of its own: this works without the workspace too
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(program, "-addr", "127.0.0.1:0", "-speed", fmt.Sprint(speed))
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the service: %v\n%s", err, &log)
		}
	})
	line, _ := bufio.NewReader(out).ReadString('\n')
	_, url, found := strings.Cut(strings.TrimSpace(line), "at ")
	if !found {
		t.Fatalf("the service prints %q", line)
	}
	return url
}

// Photographs are chosen, the job's states go by while the endpoint is cold, a
// reload in the middle goes on, and the picture comes.
func TestServiceInABrowser(t *testing.T) {
	ctx := browser(t)
	url := startService(t, 20)
	bad := complaints{site: url}
	bad.watch(t, ctx)
	do(t, ctx, chromedp.Navigate(url))
	keepStates(t, ctx)

	t.Run("landmarks and names", func(t *testing.T) { servicePage(t, ctx) })
	t.Run("a reload in the middle goes on", func(t *testing.T) { throughAReload(t, ctx) })
	t.Run("by keyboard, with a photograph of one's own", func(t *testing.T) { ownPhotograph(t, ctx) })
	t.Run("cancel and remove", func(t *testing.T) { cancelJob(t, ctx) })
	t.Run("six at once", func(t *testing.T) { sixAtOnce(t, ctx) })
	t.Run("dark, light and a phone", func(t *testing.T) { looks(t, ctx) })
	for _, one := range bad.all {
		t.Error(one)
	}
}

// keepStates has the page note every text that the newest job's line shows.
func keepStates(t *testing.T, ctx context.Context) {
	t.Helper()
	text(t, ctx, `window.seen = [], new MutationObserver(() => {
		const s = document.querySelector('#jobs [role=status]')?.textContent;
		if (s && s !== seen.at(-1)) seen.push(s);
	}).observe(document.getElementById('jobs'), {subtree: true, childList: true, characterData: true})`)
}

// until waits for what a script says; the browser's deadline ends it.
func until(t *testing.T, ctx context.Context, js string) {
	t.Helper()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](js, chromedp.WithPollingTimeout(0))); err != nil {
		t.Fatalf("%s: %v; the page says: %s", js, err, text(t, ctx, `document.getElementById('jobs').innerText`))
	}
}

// says waits until the newest job's line begins with a text.
func says(t *testing.T, ctx context.Context, what string) {
	t.Helper()
	until(t, ctx, fmt.Sprintf(`document.querySelector('#jobs .state')?.textContent.startsWith(%q)`, what))
}

// shown waits until the newest job's picture is there.
func shown(t *testing.T, ctx context.Context) {
	t.Helper()
	says(t, ctx, "Done")
	until(t, ctx, `(() => { const i = document.querySelector('#jobs li img'); return !i.closest('a').hidden && i.naturalWidth > 100; })()`)
}

func servicePage(t *testing.T, ctx context.Context) {
	until(t, ctx, `[...document.querySelectorAll('form .samples label:not([hidden]) img')].every(i => i.naturalWidth > 100)`)
	for _, js := range []string{
		`document.documentElement.lang === 'en'`,
		`document.querySelectorAll('header, main').length === 2 && document.querySelectorAll('h1').length === 1`,
		`[...document.querySelectorAll('fieldset')].every(f => f.querySelector('legend'))`,
		`[...document.querySelectorAll('form img')].every(i => i.alt)`,
		`[...document.querySelectorAll('input')].every(i => i.closest('label'))`,
		`!document.getElementById('none').hidden`,
	} {
		if got := text(t, ctx, js); got != "true" {
			t.Errorf("%s: %s", js, got)
		}
	}
}

func throughAReload(t *testing.T, ctx context.Context) {
	do(t, ctx, chromedp.Click("form button"))
	says(t, ctx, "Sent")
	screenshot(t, ctx, "sent.png")
	until(t, ctx, `seen.some(s => s.startsWith('No machine is up yet'))`)
	screenshot(t, ctx, "cold.png")
	before := get(t, ctx, chromedp.Evaluate[[]string]("seen"))
	do(t, ctx, chromedp.Reload())
	keepStates(t, ctx)
	shown(t, ctx)
	after := get(t, ctx, chromedp.Evaluate[[]string]("seen"))
	t.Logf("before the reload: %q; after it: %q", before, after)
	if !slices.Contains(after, "Sent again (attempt 2), no machine was up") || after[len(after)-1] != "Done" {
		t.Errorf("after the reload the page says %q", after)
	}
	if got := text(t, ctx, `document.querySelectorAll('#jobs li').length`); got != "1" {
		t.Errorf("%s jobs", got)
	}
	screenshot(t, ctx, "done.png")
}

// ownPhotograph sends the form with the keyboard alone, but for the file, which a
// browser's own dialogue asks for.
func ownPhotograph(t *testing.T, ctx context.Context) {
	file, err := filepath.Abs("../tryon/photos/garment/cat.jpg")
	if err != nil {
		t.Fatal(err)
	}
	do(t, ctx, chromedp.SetUploadFiles(`input[data-for=garment]`, []string{file}))
	until(t, ctx, `document.querySelector('input[name=garment][value=own]').checked`)
	do(t, ctx, chromedp.Focus(`input[name=person]:checked`))
	press(t, ctx, kb.ArrowRight)
	if got := text(t, ctx, `document.querySelector('input[name=person]:checked').nextElementSibling.alt`); got != "A photographer" {
		t.Errorf("after right: %s", got)
	}
	screenshot(t, ctx, "keyboard.png")
	reached := false
	for range 8 {
		press(t, ctx, kb.Tab)
		if reached = text(t, ctx, `document.activeElement.textContent`) == "Make the picture"; reached {
			break
		}
	}
	if !reached {
		t.Fatal("Tab does not come to the button")
	}
	press(t, ctx, kb.Enter)
	until(t, ctx, `document.querySelectorAll('#jobs li').length === 2`)
	if got := text(t, ctx, `document.querySelector('#jobs .what').textContent`); got != "A photographer, cat.jpg" {
		t.Errorf("the job is called %q", got)
	}
	shown(t, ctx)
}

func cancelJob(t *testing.T, ctx context.Context) {
	do(t, ctx, chromedp.Click("form button"))
	until(t, ctx, `document.querySelectorAll('#jobs li').length === 3`)
	do(t, ctx, chromedp.Click("#jobs li button"))
	says(t, ctx, "Canceled")
	screenshot(t, ctx, "canceled.png")
	until(t, ctx, `JSON.parse(localStorage.getItem('jobs')).length === 2`)
	do(t, ctx, chromedp.Click("#jobs li button")) // Remove
	until(t, ctx, `document.querySelectorAll('#jobs li').length === 2`)
	do(t, ctx, chromedp.Click("#jobs li button")) // the picture of one's own photograph
	until(t, ctx, `document.querySelectorAll('#jobs li').length === 1`)
	do(t, ctx, chromedp.Reload())
	until(t, ctx, `document.querySelectorAll('#jobs li').length === 1`)
	shown(t, ctx)
}

// sixAtOnce are more jobs than the page has streams for, and than a browser has
// connections for.
func sixAtOnce(t *testing.T, ctx context.Context) {
	for n := 2; n <= 7; n++ {
		do(t, ctx, chromedp.Click("form button"))
		until(t, ctx, fmt.Sprintf(`document.querySelectorAll('#jobs li').length === %d`, n))
	}
	until(t, ctx, `[...document.querySelectorAll('#jobs li')].every(l => l.className === 'done' && !l.querySelector('a').hidden)`)
}

func looks(t *testing.T, ctx context.Context) {
	paper := map[string]string{}
	for _, name := range []string{"light", "dark"} {
		scheme(t, ctx, name)
		settle(t, ctx)
		screenshot(t, ctx, name+".png")
		paper[name] = text(t, ctx, `getComputedStyle(document.body).backgroundColor`)
	}
	if paper["dark"] == paper["light"] || paper["light"] != "rgb(255, 255, 255)" {
		t.Errorf("the paper's colours: %v", paper)
	}
	do(t, ctx, chromedp.EmulateViewport(360, 740))
	settle(t, ctx)
	screenshot(t, ctx, "phone.png")
	if got := text(t, ctx, `document.documentElement.scrollWidth <= innerWidth`); got != "true" {
		t.Error("on a phone the page is wider than the screen")
	}
	if got := text(t, ctx, `[...document.querySelectorAll('button')].every(b => b.offsetHeight >= 40)`); got != "true" {
		t.Error("a button is too small for a finger")
	}
}

// screenshot keeps a picture of the page where the environment's SCREENSHOTS says.
func screenshot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	keep(t, "service-"+name, get(t, ctx, chromedp.FullScreenshot(100)))
}
