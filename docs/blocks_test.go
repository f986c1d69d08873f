// Package docs holds the documents. Its test compiles their Go blocks.
package docs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// packages are those that blocks may name without importing them: from its name
// in a block to its import path.
var packages = map[string]string{
	"context": "context", "errors": "errors", "fmt": "fmt", "http": "net/http", "io": "io", "iter": "iter", "log": "log", "maps": "maps", "os": "os",
	"slices": "slices", "strings": "strings", "synctest": "testing/synctest", "testing": "testing", "time": "time",

	"runpod":     "github.com/gpuburst/runpod-go",
	"control":    "github.com/gpuburst/runpod-go/control",
	"queue":      "github.com/gpuburst/runpod-go/queue",
	"runpodtest": "github.com/gpuburst/runpod-go/runpodtest",
	"websocket":  "github.com/gpuburst/runpod-go/websocket",
	"fleet":      "github.com/gpuburst/runpod-go/fleet",
	"otelrunpod": "github.com/gpuburst/runpod-go/otelrunpod",
	"embedded":   "github.com/gpuburst/runpod-go/fleet/embedded",
	"ws":         "github.com/coder/websocket",
	"openai":     "github.com/openai/openai-go/v3",
	"option":     "github.com/openai/openai-go/v3/option",
}

// modules are where blocks are compiled that need more than the root module has.
var modules = map[string]string{
	"websocket": "examples/websocket", "ws": "examples/websocket",
	"openai": "examples/openai", "option": "examples/openai",
	"fleet": "fleet", "embedded": "fleet", "otelrunpod": "otelrunpod",
}

// known is what blocks may use without declaring it.
var known = map[string]string{
	"Caption":   "type Caption struct{ Text string }",
	"client":    "var client *runpod.Client",
	"romania":   "var romania *runpod.Client",
	"czechia":   "var czechia *runpod.Client",
	"ctx":       "var ctx = context.Background()",
	"jobs":      "var jobs []runpod.Job",
	"myRequest": "var myRequest any",
	"myService": "func myService(volumeDir string) http.Handler { return http.NotFoundHandler() }",
	"q":         "var q *queue.Client",
	"request":   "var request any",
	"specs":     "var specs iter.Seq[fleet.Spec]",
	"rp":        "var rp *runpod.Client",
	"url":       "var url string",
}

// block is one piece of Go in a document.
type block struct {
	file string // from the repository's root
	line int    // of its first line
	code string
}

// Every Go block of the documents compiles: as it is, if it is a whole file;
// otherwise within a function, with the packages and names of the tables above.
func TestGoBlocksCompile(t *testing.T) {
	blocks := documents(t)
	if len(blocks) < 5 {
		t.Errorf("only %d blocks found", len(blocks))
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	byModule := map[string][]string{} // to the Go source of each block
	for _, b := range blocks {
		source, module, err := b.source()
		if err != nil {
			t.Errorf("%s:%d: %v", b.file, b.line, err)
			continue
		}
		byModule[module] = append(byModule[module], source)
	}
	if dir := os.Getenv("DOC_BLOCKS_DIR"); dir != "" { // for who compiles them elsewhere
		export(t, dir, slices.Concat(slices.Collect(maps.Values(byModule))...))
		return
	}
	for module, sources := range byModule {
		t.Run(cmp.Or(module, "root"), func(t *testing.T) {
			t.Logf("%d blocks", len(sources))
			compile(t, filepath.Join(root, module), sources)
		})
	}
}

// export writes each source as a package of its own below dir.
func export(t *testing.T, dir string, sources []string) {
	t.Helper()
	for i, source := range sources {
		name := fmt.Sprintf("block%d", i)
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, name+".go"), []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// compile builds each source as a package of a module, which has it only for
// the compiler.
func compile(t *testing.T, module string, sources []string) {
	t.Helper()
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	args := []string{"build", "-overlay", filepath.Join(dir, "overlay.json")}
	for i, source := range sources {
		name := fmt.Sprintf("block%d", i)
		if err := os.WriteFile(filepath.Join(dir, name+".go"), []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(module, "internal", "docs", name, name+".go")] = filepath.Join(dir, name+".go")
		args = append(args, "./internal/docs/"+name)
	}
	data, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = module, append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// source is the block as a file, and the module that it is compiled in.
func (b block) source() (text, module string, err error) {
	if strings.HasPrefix(b.code, "package ") {
		return b.placed(), "", nil
	}
	body, parsed, err := b.wrapped()
	if err != nil {
		return "", "", err
	}
	prelude := ""
	used := names(parsed)
	for name, declaration := range known {
		if used[name] && parsed.Scope.Lookup(name) == nil {
			prelude += declaration + "\n"
		}
	}
	declarations, err := parse(prelude)
	if err != nil {
		return "", "", err
	}
	imports := selected(parsed)
	maps.Copy(imports, selected(declarations))
	head := "package p\n"
	for _, name := range slices.Sorted(maps.Keys(imports)) {
		head += fmt.Sprintf("import %s %q\n", name, packages[name])
		module = cmp.Or(module, modules[name])
	}
	return head + prelude + body, module, nil
}

// placed is the block's code, of which the compiler knows where it stands.
func (b block) placed() string { return fmt.Sprintf("//line %s:%d\n%s", b.file, b.line, b.code) }

// wrapped is the block as declarations: as it is, or, if it is statements,
// within a function.
func (b block) wrapped() (body string, parsed *ast.File, err error) {
	body = b.placed()
	if parsed, err = parse(body); err == nil {
		return body, parsed, nil
	}
	body = "func _() error {\n" + body + "\n"
	if parsed, err = parse(body + "}\n"); err != nil {
		return "", nil, err
	}
	for _, name := range declared(parsed) {
		body += "_ = " + name + "\n"
	}
	return body + "return nil\n}\n", parsed, nil
}

// parse parses declarations.
func parse(declarations string) (*ast.File, error) {
	return parser.ParseFile(token.NewFileSet(), "", "package p\n"+declarations, 0)
}

// selected are the known packages of which a file uses something.
func selected(f *ast.File) map[string]bool {
	all := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && packages[x.Name] != "" {
				all[x.Name] = true
			}
		}
		return true
	})
	return all
}

// names are all identifiers below a node but fields and what packages export.
func names(n ast.Node) map[string]bool {
	all := map[string]bool{}
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			maps.Copy(all, names(n.X))
			return false
		case *ast.Ident:
			all[n.Name] = true
		}
		return true
	})
	return all
}

// declared are the names that the statements of the file's function declare for
// those that follow: a block need not use them.
func declared(f *ast.File) (all []string) {
	for _, s := range f.Decls[0].(*ast.FuncDecl).Body.List {
		if a, ok := s.(*ast.AssignStmt); ok && a.Tok == token.DEFINE {
			for _, e := range a.Lhs {
				if id := e.(*ast.Ident); id.Name != "_" {
					all = append(all, id.Name)
				}
			}
		}
	}
	return all
}

// documents are the blocks of all documents, and of the package's documentation.
func documents(t *testing.T) (all []block) {
	t.Helper()
	repository := os.DirFS("..")
	files := append(markdown(t, repository), "doc.go", "queue/doc.go", "websocket/doc.go")
	for _, file := range files {
		text, err := fs.ReadFile(repository, file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".go") {
			all = append(all, docBlock(file, string(text)))
		} else {
			all = append(all, fenced(file, string(text))...)
		}
	}
	return all
}

// fenced are the blocks of a Markdown file that say that they are Go.
func fenced(file, text string) (all []block) {
	var b *block
	n := 0
	for line := range strings.Lines(text) {
		n++
		switch trimmed := strings.TrimSpace(line); {
		case b == nil && trimmed == "```go":
			b = &block{file: file, line: n + 1}
		case b != nil && trimmed == "```":
			all = append(all, *b)
			b = nil
		case b != nil:
			b.code += line
		}
	}
	return all
}

// docBlock is the first block of a package's documentation.
func docBlock(file, text string) block {
	b := block{file: file}
	n := 0
	for line := range strings.Lines(text) {
		n++
		code, ok := strings.CutPrefix(line, "//\t")
		if !ok && b.line > 0 {
			break
		}
		if ok {
			b.line = cmp.Or(b.line, n)
			b.code += code
		}
	}
	return b
}
