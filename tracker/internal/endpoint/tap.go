package endpoint

const (
	// atOnce is within how long a host answers, as seen from a tap on itself: a tap
	// beside it, on a mirror port, sees its answers hardly sooner than that.
	atOnce = 1
	// soon is within how long a busy one does.
	soon = 32
	// farOff is how long the answers of the other end take then at least.
	farOff = 16
) // in units of responseUnit: 66 µs, 2.1 ms, 1 ms

// RecordedAt reports whether the packets show beyond doubt that the capture was made on
// the host of x: nothing has routed what it sends, it answers soon, and the capture says
// that this was going out, or its checksums are not filled in yet; or it answers at once
// where its peer does not.
func RecordedAt(x, y *End) bool {
	switch {
	case x.Respond == 0 || x.Respond > soon || !initialTTL(x.TTL) || x.Went&CameIn != 0 || y.Went&WentOut != 0:
		return false
	case x.Went&WentOut != 0:
		return true
	case x.Went&SumUnfilled != 0 && y.Has(GoodSum) && y.Went&SumUnfilled == 0:
		return true
	}
	return x.Respond <= atOnce && farOff <= y.Respond
}

// initialTTL reports whether a packet with it has passed no router: hosts begin with
// one of these.
func initialTTL(ttl uint8) bool { return ttl == 64 || ttl == 128 || ttl == 255 }
