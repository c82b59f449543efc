//go:build !linux

package run

// confine gives up nothing: what it uses is Linux's.
func confine(string, bool) error { return nil }

// folderOf is of no use here.
func (l *Live) folderOf() string { return "" }
