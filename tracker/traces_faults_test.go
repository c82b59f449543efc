package tracker_test

// faults are the misses that are known to be the tracker's, by what is
// compared, and then by story and number: an entry that is not met as it stands
// is stale, and fails the test.
var faults = map[string]map[string]string{}
