package fleet_test

import (
	"testing"

	"github.com/gpuburst/runpod-go/fleet/internal/fleettest"
)

func TestMain(m *testing.M) { fleettest.Main(m) }
