//! The simbdp command line: fetchdata, ingestmessage, query and more
