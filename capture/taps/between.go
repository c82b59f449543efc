package taps

// Between is what happened between the taps.
type Between struct{}

func (m *merger) between() *Between { return &Between{} }
