package browser

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// browser starts Chromium; where there is none, the test is skipped.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("there is no browser here: apt-get install chromium")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(1240, 1000))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// complaints collects what the page should not do: errors, warnings on the
// console, requests to anything but the file, or but the site that it is of.
type complaints struct {
	site string // "": the page is a file
	mu   sync.Mutex
	all  []string
}

func (c *complaints) add(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, fmt.Sprintf(format, args...))
}

func (c *complaints) watch(t *testing.T, ctx context.Context) {
	t.Helper()
	err := chromedp.Listen(ctx, func(ev any) {
		switch e := ev.(type) {
		case *runtime.EventExceptionThrown:
			c.add("exception: %s %v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception)
		case *runtime.EventConsoleAPICalled:
			c.add("console: %s %v", e.Type, e.Args)
		case *cdplog.EventEntryAdded:
			c.add("log: %s", e.Entry.Text)
		case *network.EventRequestWillBeSent:
			if u := e.Request.URL; !strings.HasPrefix(u, cmp.Or(c.site, "file:///")) && !strings.HasPrefix(u, "data:") && !strings.HasPrefix(u, "blob:") {
				c.add("it loads %s", u)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	call(t, ctx, network.Enable, network.EnableParams{})
	call(t, ctx, cdplog.Enable, cdp.Empty{})
}

func call[P, R any](t *testing.T, ctx context.Context, cmd cdp.Command[P, R], params P) {
	t.Helper()
	if _, err := chromedp.Call(ctx, cmd, params); err != nil {
		t.Fatal(err)
	}
}

// runBurst makes a report with the program itself.
func runBurst(t *testing.T, args ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	program(t, append([]string{"-q", "-report", filepath.Join(dir, "a.html"), "-json", filepath.Join(dir, "a.json")}, args...)...)
	return dir
}

func program(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"run", "."}, args...)...)
	cmd.Dir = "../../../cmd/runpod-burst" // a module of its own: this works without the workspace too
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("runpod-burst: %v\n%s", err, out)
	}
}

func do(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

func get[T any](t *testing.T, ctx context.Context, action chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// settle waits until the page has drawn what is to be drawn.
func settle(t *testing.T, ctx context.Context) {
	t.Helper()
	get(t, ctx, chromedp.Evaluate[bool](`new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => r(true))))`, chromedp.EvalAwaitPromise))
}

func text(t *testing.T, ctx context.Context, js string) string {
	t.Helper()
	return get(t, ctx, chromedp.Evaluate[string]("String("+js+")"))
}

const detail = `document.querySelector('.detail').textContent`

func press(t *testing.T, ctx context.Context, keys ...string) {
	t.Helper()
	for _, k := range keys {
		do(t, ctx, chromedp.KeyEvent(k))
	}
}

func TestReportInABrowser(t *testing.T) {
	ctx := browser(t)
	dir := runBurst(t, "-compare", "naive,library", "-speed", "100", "-price", "0.0003")
	var bad complaints
	bad.watch(t, ctx)
	do(t, ctx, chromedp.Navigate("file://"+filepath.Join(dir, "a.html")))

	t.Run("figures are those of the JSON", func(t *testing.T) { sameFigures(t, ctx, filepath.Join(dir, "a.json")) })
	t.Run("hover", func(t *testing.T) { hover(t, ctx) })
	t.Run("keyboard", func(t *testing.T) { keyboard(t, ctx) })
	t.Run("tables", func(t *testing.T) { tables(t, ctx) })
	t.Run("landmarks and names", func(t *testing.T) { accessible(t, ctx) })
	t.Run("dark, light and print differ where they should", func(t *testing.T) { themes(t, ctx) })
	t.Run("no errors, nothing loaded", func(t *testing.T) {
		for _, one := range bad.all {
			t.Error(one)
		}
	})
}

// sameFigures holds every cell of the page's figures against the JSON.
func sameFigures(t *testing.T, ctx context.Context, name string) {
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var runs []map[string]any
	if err := json.Unmarshal(data, &runs); err != nil {
		t.Fatal(err)
	}
	type cell struct{ Run, Figure, Text string }
	cells := get(t, ctx, chromedp.Evaluate[[]cell](`[...document.querySelectorAll('[data-figure]')].map(c => ({Run: c.dataset.run, Figure: c.dataset.figure, Text: c.textContent}))`))
	if len(cells) < 40 {
		t.Errorf("the page has %d figures", len(cells))
	}
	for _, c := range cells {
		n, err := strconv.Atoi(c.Run)
		if err != nil || n < 1 || n > len(runs) {
			t.Fatalf("run %q", c.Run)
		}
		want, ok := runs[n-1][c.Figure].(float64)
		if c.Figure == "success_rate" {
			want *= 100
		}
		got, err := strconv.ParseFloat(strings.ReplaceAll(strings.Fields(c.Text)[0], ",", ""), 64)
		_, decimals, _ := strings.Cut(strings.Fields(c.Text)[0], ".")
		slack := 0.51
		for range decimals {
			slack /= 10
		}
		if !ok || err != nil || got < want-slack || got > want+slack {
			t.Errorf("run %s, %s: the page says %q, the JSON %v", c.Run, c.Figure, c.Text, want)
		}
	}
	for i, run := range runs {
		if got := text(t, ctx, fmt.Sprintf(`document.querySelector('[data-verdict="%d"]').textContent`, i+1)); got != run["verdict"] {
			t.Errorf("the page's verdict %q, the JSON's %q", got, run["verdict"])
		}
	}
}

// hover points at the end of the first job that was lost, and wants its attempt's verdict.
func hover(t *testing.T, ctx context.Context) {
	type point struct{ X, Y float64 }
	at := get(t, ctx, chromedp.Evaluate[point](`(() => {
		const t = timelines[0], i = t.jobs.findIndex(d => d[2] === 1), j = job(t.jobs[i]);
		t.box.scrollIntoView();
		const r = t.rows.getBoundingClientRect(), a = j.attempts[j.attempts.length - 1];
		return {X: r.left + t.x((a.start + a.end) / 2), Y: r.top + (i + 0.4) * t.rowHeight};
	})()`))
	do(t, ctx, chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, at.X, at.Y))
	got := text(t, ctx, detail)
	for _, want := range []string{": lost after ", "in the balancer: ", "attempt 1: status 400 after ", "give up", "no workers available"} {
		if !strings.Contains(got, want) {
			t.Errorf("the detail does not say %q:\n%s", want, got)
		}
	}
}

func keyboard(t *testing.T, ctx context.Context) {
	do(t, ctx, chromedp.Focus(".scroll"))
	press(t, ctx, kb.Home)
	if got := text(t, ctx, detail); !strings.HasPrefix(got, "Job 1: ") {
		t.Errorf("after Home: %s", got)
	}
	press(t, ctx, kb.ArrowDown)
	if got := text(t, ctx, detail); !strings.HasPrefix(got, "Job 2: ") {
		t.Errorf("after down: %s", got)
	}
	press(t, ctx, kb.End)
	if got := text(t, ctx, detail); !strings.HasPrefix(got, "Job 30: ") {
		t.Errorf("after End: %s", got)
	}
	seen := map[string]bool{}
	for range 6 {
		press(t, ctx, kb.ArrowRight)
		lines := strings.Split(text(t, ctx, detail), "\n")
		seen[lines[1][:strings.Index(lines[1], ":")]] = true
	}
	for _, want := range []string{"in the balancer", "at the worker"} {
		if !seen[want] {
			t.Errorf("right does not come to the stage %q: %v", want, seen)
		}
	}
	whole := text(t, ctx, `timelines[0].to - timelines[0].from`)
	press(t, ctx, "+")
	if got := text(t, ctx, `timelines[0].to - timelines[0].from`); got == whole {
		t.Error("+ does not zoom")
	}
	press(t, ctx, "0")
	if got := text(t, ctx, `timelines[0].to - timelines[0].from`); got != whole {
		t.Errorf("after 0: %s, want %s", got, whole)
	}
}

func tables(t *testing.T, ctx context.Context) {
	text(t, ctx, `document.querySelectorAll('details').forEach(d => { d.open = true })`)
	do(t, ctx, chromedp.WaitVisible(".jobtable table"), chromedp.WaitVisible(".workertable table"))
	if got := text(t, ctx, `document.querySelector('.jobtable tbody').rows.length`); got != "30" {
		t.Errorf("the table of jobs has %s rows", got)
	}
	if got := text(t, ctx, `document.querySelector('.jobtable table').textContent`); !strings.Contains(got, "no workers available") {
		t.Error("the table of jobs does not say why one was lost")
	}
	if got, want := text(t, ctx, `document.querySelector('.workertable tbody').rows.length`), text(t, ctx, `data.runs[0].workers.length`); got != want {
		t.Errorf("the table of workers has %s rows, want %s", got, want)
	}
	text(t, ctx, `document.querySelectorAll('details').forEach(d => { d.open = false })`)
}

func accessible(t *testing.T, ctx context.Context) {
	for _, js := range []string{
		`document.documentElement.lang === 'en'`,
		`document.querySelectorAll('header, main, footer').length === 3`,
		`document.querySelectorAll('h1').length === 1`,
		`[...document.querySelectorAll('section')].every(s => document.getElementById(s.getAttribute('aria-labelledby')))`,
		`[...document.querySelectorAll('[role=application]')].every(s => s.tabIndex === 0 && document.getElementById(s.getAttribute('aria-describedby')))`,
		`[...document.querySelectorAll('canvas')].every(c => c.closest('[role=application]') || c.getAttribute('aria-label'))`,
		`document.querySelectorAll('[role=status][aria-live=polite]').length === 2`,
		`[...document.querySelectorAll('thead th')].every(h => h.scope === 'col')`,
		`new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size === document.querySelectorAll('[id]').length`,
		`document.documentElement.scrollWidth <= innerWidth`,
	} {
		if got := text(t, ctx, js); got != "true" {
			t.Errorf("%s: %s", js, got)
		}
	}
}

// themes looks at the colour of the paper on the screen, and at what is printed.
// With the environment's SCREENSHOTS naming a folder, pictures go there.
func themes(t *testing.T, ctx context.Context) {
	paper := map[string]string{}
	for _, name := range []string{"dark", "light"} {
		scheme(t, ctx, name)
		text(t, ctx, "scrollTo(0, 0)")
		settle(t, ctx)
		keep(t, name+".png", get(t, ctx, chromedp.FullScreenshot(100)))
		paper[name] = text(t, ctx, `getComputedStyle(document.body).backgroundColor`)
	}
	if paper["dark"] == paper["light"] || paper["light"] != "rgb(255, 255, 255)" {
		t.Errorf("the paper's colours: %v", paper)
	}
	scheme(t, ctx, "dark")
	print := get(t, ctx, chromedp.PrintToPDF(chromedp.PDFPaper(chromedp.PaperA4)))
	keep(t, "print.pdf", print)
	if pages := bytes.Count(print, []byte("/Type /Page\n")); len(print) < 20_000 || pages < 3 || pages > 6 {
		t.Errorf("a print of %d bytes and %d pages, want about one page for the comparison and two for each run", len(print), pages)
	}
	text(t, ctx, `dispatchEvent(new Event('beforeprint'))`)
	text(t, ctx, `dispatchEvent(new Event('resize'))`) // as browsers send it when the sheet's width comes
	if got := text(t, ctx, `timelines.every(t => t.width === PAPER && t.rows.offsetHeight === 10 * t.jobs.length)`); got != "true" {
		t.Error("a timeline is not drawn for paper, with all its jobs")
	}
	text(t, ctx, `dispatchEvent(new Event('afterprint'))`)
	if got := text(t, ctx, `timelines.some(t => t.width === PAPER)`); got != "false" {
		t.Error("a timeline stays as it was for paper")
	}
	if got := text(t, ctx, `document.documentElement.classList.contains('printing')`); got != "false" {
		t.Error("the colours of the print stay")
	}
}

func scheme(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	call(t, ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
}

func keep(t *testing.T, name string, data []byte) {
	t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
		t.Error(err)
	}
}

// A page of 10,000 jobs can be opened, and answers a key at once.
func TestTenThousandJobsInABrowser(t *testing.T) {
	ctx := browser(t)
	dir := t.TempDir()
	manyRecords(t, filepath.Join(dir, "a.jsonl"))
	program(t, "analyze", "-q", "-report", filepath.Join(dir, "a.html"), filepath.Join(dir, "a.jsonl"))
	var bad complaints
	bad.watch(t, ctx)
	began := time.Now()
	do(t, ctx, chromedp.Navigate("file://"+filepath.Join(dir, "a.html")))
	settle(t, ctx)
	opened := time.Since(began)
	do(t, ctx, chromedp.Focus(".scroll"))
	press(t, ctx, kb.End)
	if got := text(t, ctx, detail); !strings.HasPrefix(got, "Job 10000: ") {
		t.Errorf("after End: %s", got)
	}
	drawing := get(t, ctx, chromedp.Evaluate[float64](`(() => { const t0 = performance.now(); for (let i = 0; i < 10; i++) timelines[0].draw(); return (performance.now() - t0) / 10; })()`))
	t.Logf("opened in %v, drawn in %.0f ms", opened.Round(time.Millisecond), drawing)
	if opened > 20*time.Second || drawing > 500 {
		t.Errorf("that chokes a browser")
	}
	for _, one := range bad.all {
		t.Error(one)
	}
}

// manyRecords writes made-up records of 10,000 jobs with two attempts each.
func manyRecords(t *testing.T, name string) {
	t.Helper()
	var b strings.Builder
	b.WriteString(`{"run":{"name":"library","endpoint":"made up","speed":1,"requests":10000,"concurrency":500,"queue_wait":120}}` + "\n")
	for i := range 10_000 {
		at := float64(i) * 0.2
		fmt.Fprintf(&b, `{"job":{"index":%d,"id":"%d","due":%.1f,"begin":%.1f,"sent":%.1f,"uploaded":%.1f,"answered":%.1f,"end":%.1f,"ok":true,"attempts":[`+
			`{"start":%.1f,"end":%.1f,"status":400,"verdict":"retry now","reason":"no worker"},`+
			`{"start":%.1f,"end":%.1f,"status":200,"worker":"worker-%d","verdict":"deliver"}]}}`+"\n",
			i, i+1, at, at+1, at+2, at+3, at+160, at+161, at+3, at+123, at+124, at+160, i%50)
	}
	if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
