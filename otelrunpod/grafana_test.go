package otelrunpod_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	runpod "github.com/gpuburst/runpod-go"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// The dashboard names no metric that is not emitted, leaves none out, and groups
// by attributes that its metrics have.
func TestDashboardShowsWhatIsEmitted(t *testing.T) {
	text, err := os.ReadFile("grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	inBubble(t, runpodtest.Config{MinWorkers: 1}, nil, func(b *bench) {
		job := runpod.Job{Path: "/x", Inputs: []runpod.JobInput{{Input: runpod.Bytes("a", []byte("a"))}}}
		if _, err := b.client.Run(b.Context(), job); err != nil {
			b.Fatal(err)
		}
		var all metricdata.ResourceMetrics
		if err := b.metrics.Collect(b.Context(), &all); err != nil {
			b.Fatal(err)
		}
		emitted, labels := inPrometheus(all)
		shown := map[string]bool{}
		targets := 0
		for _, p := range board.Panels {
			for _, target := range p.Targets {
				targets++
				for _, name := range regexp.MustCompile(`\b(runpod|http)_[a-z0-9_]+\b`).FindAllString(withoutLabels(target.Expr), -1) {
					if !emitted[name] {
						b.Errorf("%q names %s, which is not emitted", p.Title, name)
					}
					shown[family(name)] = true
				}
				for _, label := range labelsIn(target.Expr) {
					if !labels[label] {
						b.Errorf("%q groups by %s, which no metric has", p.Title, label)
					}
				}
			}
		}
		if targets < 15 {
			b.Errorf("the dashboard has %d queries", targets)
		}
		for name := range emitted {
			if !shown[family(name)] {
				b.Errorf("the dashboard does not show %s", name)
			}
		}
	})
}

// inPrometheus names metrics and their attributes as OpenTelemetry's Prometheus
// exporter does: units and kinds are suffixes, dots are underscores.
func inPrometheus(all metricdata.ResourceMetrics) (names, labels map[string]bool) {
	names, labels = map[string]bool{}, map[string]bool{"le": true}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			name := strings.ReplaceAll(m.Name, ".", "_")
			name += map[string]string{"s": "_seconds", "By": "_bytes"}[m.Unit]
			switch d := m.Data.(type) {
			case metricdata.Histogram[float64]:
				names[name+"_bucket"], names[name+"_count"] = true, true
			case metricdata.Sum[int64]:
				if d.IsMonotonic {
					name += "_total"
				}
				names[name] = true
			case metricdata.Sum[float64]:
				names[name+"_total"] = true
			default:
				names[name] = true
			}
			for attrs := range values(m.Data) {
				for pair := range strings.SplitSeq(attrs, ",") {
					key, _, _ := strings.Cut(pair, "=")
					labels[strings.ReplaceAll(key, ".", "_")] = true
				}
			}
		}
	}
	return names, labels
}

// family is a metric without what a histogram appends.
func family(name string) string {
	return strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count")
}

func withoutLabels(expr string) string {
	return regexp.MustCompile(`\{[^}]*\}|\bby \([^)]*\)`).ReplaceAllString(expr, "")
}

// labelsIn are the labels that a query groups or selects by.
func labelsIn(expr string) (labels []string) {
	for _, m := range regexp.MustCompile(`\bby \(([^)]*)\)`).FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(m[1], ",") {
			labels = append(labels, strings.TrimSpace(l))
		}
	}
	for _, m := range regexp.MustCompile(`([a-z_]+)(=~|!=|=)"`).FindAllStringSubmatch(expr, -1) {
		labels = append(labels, m[1])
	}
	return labels
}
