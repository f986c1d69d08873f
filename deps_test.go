package runpod

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A service that imports this package gets a short list of dependencies.
func TestDependencies(t *testing.T) {
	deps := goList(t, "-deps", "-f", "{{if .Module}}{{.Module.Path}}{{end}}", ".")
	slices.Sort(deps)
	for _, module := range slices.Compact(deps) {
		switch {
		case module == "github.com/gpuburst/runpod-go",
			strings.HasPrefix(module, "github.com/aws/aws-sdk-go-v2"),
			module == "github.com/aws/smithy-go",
			module == "github.com/hashicorp/go-retryablehttp",
			module == "github.com/hashicorp/go-cleanhttp",
			module == "golang.org/x/time":
		default:
			t.Errorf("package runpod links %s", module)
		}
		if module == "github.com/aws/aws-sdk-go-v2/config" {
			t.Error("package runpod links the SDK's config and all that it brings")
		}
	}
}

// The control plane spends money: who wants it imports it by name.
func TestControlPlaneIsNotLinked(t *testing.T) {
	if slices.Contains(goList(t, "-deps", "."), "github.com/gpuburst/runpod-go/control") {
		t.Error("package runpod imports package control")
	}
}

// The job API of queue-based endpoints stands on this package, not beside it.
func TestQueueStandsOnTheExportedAPI(t *testing.T) {
	if slices.Contains(goList(t, "-deps", "."), "github.com/gpuburst/runpod-go/queue") {
		t.Error("package runpod imports package queue")
	}
	if !slices.Contains(goList(t, "-deps", "./queue"), "github.com/gpuburst/runpod-go") {
		t.Error("package queue does not import package runpod")
	}
}

// The simulated service shares nothing with the library it tests, so that one
// mistake cannot pass on both sides.
func TestSimulationDoesNotKnowTheLibrary(t *testing.T) {
	if slices.Contains(goList(t, "-deps", "./runpodtest"), "github.com/gpuburst/runpod-go") {
		t.Error("runpodtest imports package runpod")
	}
}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}
