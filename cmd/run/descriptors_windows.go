package run

// maxDescriptors is how many files and sockets the process can have open.
func maxDescriptors() int { return 1 << 20 }
