package capture

import "io"

// Records counts the records of a pcap file, and looks into none.
func Records(r io.Reader) (n int, err error) {
	f, err := newPcapFile(newWindow(r))
	if err != nil {
		return 0, err
	}
	var rec record
	for {
		if err := f.next(&rec); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
		n++
	}
}
