package runpod

import (
	"fmt"
	"slices"
	"strings"
)

// volumePlace is the Client's network volume and its data center; "": it has
// none, or a store that is no network volume.
type volumePlace struct{ id, dataCenter string }

// placeOf tells a network volume by its region, which is a data center (Runpod
// docs).
func placeOf(c s3Config) volumePlace {
	if c.url == nil || !dataCenter.MatchString(c.region) {
		return volumePlace{}
	}
	return volumePlace{id: c.bucket, dataCenter: strings.ToUpper(c.region)}
}

// warnings say what may keep calls from succeeding, and what to do about it.
func (p volumePlace) warnings(r Readiness) (all []string) {
	for _, w := range []string{noMaximum(r), noneWorks(r), severalVolumes(r), p.elsewhere(r), p.detached(r)} {
		if w != "" {
			all = append(all, w)
		}
	}
	return all
}

func noMaximum(r Readiness) string {
	if r.MaxWorkers > 0 {
		return ""
	}
	return "the endpoint's maximum is 0 workers, so that calls wait in vain; " + raiseMaximum
}

// noneWorks warns if there are workers and none of them works or is about to.
func noneWorks(r Readiness) string {
	throttled, unhealthy, all := r.Workers[WorkerThrottled], r.Workers[WorkerUnhealthy], 0
	for _, n := range r.Workers {
		all += n
	}
	switch {
	case all == 0 || throttled+unhealthy < all:
		return ""
	case unhealthy == 0:
		return fmt.Sprintf("all workers (%d) are throttled: no GPU is to be had for them; wait, or allow other GPU types or data centers", all)
	case throttled == 0:
		return fmt.Sprintf("all workers (%d) are unhealthy, and get no requests; look at their logs, and at what their health path answers", all)
	}
	return fmt.Sprintf("all workers are throttled (%d) or unhealthy (%d); look at the logs of the unhealthy ones, and allow other GPU types or data centers for the others", throttled, unhealthy)
}

// severalVolumes warns about volumes that are not copied to each other.
func severalVolumes(r Readiness) string {
	if n := len(r.NetworkVolumes); n > 1 {
		return fmt.Sprintf("the endpoint has %d network volumes, which Runpod does not keep the same: a worker in another data center than an input's volume does not find it; "+
			"leave one volume, and the data center that it is in", n)
	}
	return ""
}

// elsewhere warns if workers start only in other data centers than the volume's.
func (p volumePlace) elsewhere(r Readiness) string {
	here := func(d string) bool { return strings.EqualFold(d, p.dataCenter) }
	if p.dataCenter == "" || len(r.DataCenters) == 0 || slices.ContainsFunc(r.DataCenters, here) {
		return ""
	}
	return fmt.Sprintf("the Client's volume is in %s, and the endpoint's workers start in %s: they do not see what is uploaded; "+
		"add the volume's data center to the endpoint's, or upload to a volume in one of those", p.dataCenter, quoted(r.DataCenters))
}

// detached warns if the volume is none of the endpoint's.
func (p volumePlace) detached(r Readiness) string {
	switch {
	case p.id == "" || r.NetworkVolumes == nil || slices.Contains(r.NetworkVolumes, p.id):
		return ""
	case len(r.NetworkVolumes) == 0:
		return fmt.Sprintf("the endpoint has no network volume: its workers do not see what is uploaded to %s; attach that volume to it", p.id)
	}
	return fmt.Sprintf("the Client's volume %s is none of the endpoint's (%s): its workers do not see what is uploaded; attach that volume, or name one of those", p.id, quoted(r.NetworkVolumes))
}

// quoted lists names that the control plane gave, fit for a log.
func quoted(names []string) string {
	const most = 5
	var b strings.Builder
	for i, name := range names {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(names)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%.60q", name)
	}
	return b.String()
}
